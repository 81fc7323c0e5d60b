"""The published archive: fetched through pip's configuration, checked, opened.

Runs under a Python that has pip (`python -m tools.mesos.library OUT`): only pip knows which
index, proxy and certificates this machine uses, and its own `pip download` refuses the archive
because its name is that of neither an sdist nor a wheel.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import tarfile
import urllib.parse
from pathlib import Path

PROJECT = "mesos-scheduler"
ARCHIVE = "mesos.scheduler-1.11.0.linux-x86_64.tar.gz"
SHA256 = "1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e"
MEMBER = "_scheduler.so"


class LibraryError(Exception):
    """The archive cannot be had, or is not the one that Apache published."""


def link_in(page: str, base: str) -> str:
    """The archive's address in an index page, which may give it relative to `base`.

    >>> link_in(f'<a href="../f/{ARCHIVE}#sha256={SHA256}">x</a>', "https://index/simple/p/")
    'https://index/simple/f/mesos.scheduler-1.11.0.linux-x86_64.tar.gz'
    """
    found = re.search(rf'href="([^"#]*{re.escape(ARCHIVE)})(?:#[^"]*)?"', page)
    if not found:
        raise LibraryError(f"{ARCHIVE} is not listed at {base}")
    return str(urllib.parse.urljoin(base, found.group(1)))


def fetch() -> bytes:
    """The archive, from the index that pip is configured for."""
    from pip._internal.commands.download import DownloadCommand  # noqa: PLC0415

    command = DownloadCommand("download", "the configuration and session of pip download")
    options, _ = command.parse_args([])
    with command.main_context():
        session = command.get_default_session(options)
        base = f"{options.index_url.rstrip('/')}/{PROJECT}/"
        page = session.get(base, headers={"Accept": "text/html"})
        page.raise_for_status()
        archive = session.get(link_in(page.text, base))
        archive.raise_for_status()
    return bytes(archive.content)


def shared_object(archive: bytes) -> bytes:
    """The library inside the archive, once the archive is known to be Apache's."""
    digest = hashlib.sha256(archive).hexdigest()
    if digest != SHA256:
        raise LibraryError(f"{ARCHIVE} has sha256 {digest}, but {SHA256} was published")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(f"/{MEMBER}") else None
            if file:
                return file.read()
    raise LibraryError(f"{ARCHIVE} has no {MEMBER}")


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(shared_object(fetch()))
