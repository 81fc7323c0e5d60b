#!/usr/bin/env python3
"""Brings a task's URIs into its sandbox.

The agent runs it when a command has URIs, with a FetcherInfo (fetcher.proto of Mesos) as JSON in
MESOS_FETCHER_INFO. Python 3.10 or later, standard library only.
"""

from __future__ import annotations

import gzip
import json
import os
import pwd
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

TAR_NAMES = (".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
DEFAULT_STALL_TIMEOUT = {"nanoseconds": 60_000_000_000}
LOGS = ("stdout", "stderr")
"""Files of the sandbox that the agent keeps open and owns."""


def download(uri: str, path: Path, info: dict[str, Any]) -> None:
    """A URL, or a file of this machine, to a path."""
    uri = uri.removeprefix("file://")
    if "://" not in uri:
        shutil.copyfile(Path(info.get("frameworks_home", "/")) / uri, path)
        return
    stall = info.get("stall_timeout", DEFAULT_STALL_TIMEOUT)["nanoseconds"] / 1e9
    with urllib.request.urlopen(uri, timeout=stall) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def extract(path: Path, sandbox: Path) -> bool:
    """Unpack an archive into the sandbox; False when it is none."""
    if path.name.endswith(TAR_NAMES):
        subprocess.run(["tar", "-C", sandbox, "-xf", path], check=True)
    elif path.suffix == ".gz":
        with gzip.open(path) as source, (sandbox / path.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    elif path.suffix == ".zip":
        shutil.unpack_archive(path, sandbox)
    else:
        return False
    return True


def fetch(item: dict[str, Any], info: dict[str, Any]) -> None:
    """One URI, through the agent's cache where the agent says so."""
    uri, action, sandbox = item["uri"], item["action"], Path(info["sandbox_directory"])
    name = uri.get("output_file") or Path(uri["value"].split("?")[0]).name
    source = target = sandbox / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if action == "BYPASS_CACHE":
        download(uri["value"], target, info)
    else:
        source = Path(info["cache_directory"]) / item["cache_filename"]
        if action == "DOWNLOAD_AND_CACHE":
            source.parent.mkdir(parents=True, exist_ok=True)
            download(uri["value"], source, info)
    executable = uri.get("executable", False)
    unpacked = uri.get("extract", True) and not executable and extract(source, sandbox)
    if not unpacked and source != target:
        shutil.copyfile(source, target)
    if executable:
        target.chmod(0o755)
    print(f"fetched {uri['value']} ({action})", flush=True)


def give(sandbox: Path, user: str) -> None:
    """Hand the sandbox to the task's user."""
    account = pwd.getpwnam(user)
    for directory, _, files in os.walk(sandbox):
        os.chown(directory, account.pw_uid, account.pw_gid)
        for name in files:
            if name not in LOGS:
                os.lchown(Path(directory) / name, account.pw_uid, account.pw_gid)


def main() -> None:
    info = json.loads(os.environ["MESOS_FETCHER_INFO"])
    for item in info.get("items", []):
        try:
            fetch(item, info)
        except (OSError, subprocess.CalledProcessError, shutil.ReadError) as error:
            sys.exit(f"cannot fetch {item['uri']['value']}: {error}")
    if info.get("user") and os.getuid() == 0:
        give(Path(info["sandbox_directory"]), info["user"])


if __name__ == "__main__":
    main()
