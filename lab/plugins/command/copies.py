# ruff: noqa: ASYNC240 -- local files, read one after another
"""CopyToRemote: a file, a text or a tree of files onto another machine, over SFTP."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

import asyncssh

from lab.plugins.command.connections import Hosts
from lab.plugins.provider import ProviderError, Request
from lab.plugins.values import Properties


async def copy_to_remote(hosts: Hosts, inputs: Properties, request: Request) -> None:
    """Put `inputs["source"]`, an asset or an archive, at `inputs["remotePath"]`."""
    source, target = inputs["source"], inputs["remotePath"]
    async with hosts.session(inputs["connection"], request.status) as host:
        try:
            async with host.connection.start_sftp_client() as sftp:
                if "text" in source:
                    await copy_text(sftp, source["text"], target)
                elif Path(source["path"]).is_dir():
                    await copy_tree(sftp, source["path"], target)
                else:
                    await copy_file(sftp, source["path"], target)
        except (OSError, asyncssh.Error) as error:
            where = f"{inputs['connection']['host']}:{target}"
            raise ProviderError(f"failed to copy to {where}: {error}") from None


async def copy_text(sftp: asyncssh.SFTPClient, text: str, target: str) -> None:
    if await sftp.isdir(target):
        raise ProviderError(f"remotePath {target} is a directory; a text asset needs a file path")
    await make_parents(sftp, target)
    async with sftp.open(target, "wb") as file:
        await file.write(text.encode())


async def copy_file(sftp: asyncssh.SFTPClient, source: str, target: str) -> None:
    if await sftp.isdir(target):
        target = posixpath.join(target, Path(source).name)
    await make_parents(sftp, target)
    await sftp.put(source, target)


async def copy_tree(sftp: asyncssh.SFTPClient, source: str, target: str) -> None:
    """Into target/<name>, or into the target itself when the source ends with a slash."""
    if not source.endswith("/"):
        target = posixpath.join(target, Path(source).name)
    for directory, _, files in os.walk(source):
        relative = os.path.relpath(directory, source)
        here = posixpath.normpath(posixpath.join(target, relative))
        await sftp.makedirs(here, exist_ok=True)
        for name in files:
            await sftp.put(str(Path(directory, name)), posixpath.join(here, name))


async def make_parents(sftp: asyncssh.SFTPClient, path: str) -> None:
    if parent := posixpath.dirname(path):
        await sftp.makedirs(parent, exist_ok=True)
