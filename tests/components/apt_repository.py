"""An apt repository of one's own: packages made of files, signed, served by HTTP."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SUITE = "bookworm"
INDEX = "main/binary-amd64/Packages"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A directory that apt takes for an archive, once it is signed."""

    root: Path
    home: Path
    """Where gpg keeps the keys."""

    def add(self, name: str, version: str, files: Mapping[str, Path | str]) -> None:
        """Make a package of files: path on the machine → a file here, or a link's target."""
        tree = self.root.parent / f"{name}-tree"
        for path, source in files.items():
            place = tree / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, Path):
                shutil.copy2(source, place, follow_symlinks=False)
            else:
                place.symlink_to(source)
        control = tree / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            "Maintainer: nobody <nobody@example.org>\nDescription: for a test\n"
        )
        pool = self.root / "pool"
        pool.mkdir(exist_ok=True)
        run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, pool])
        shutil.rmtree(tree)

    def sign(self, key: str) -> None:
        """Write the index of all packages, and the key's word for it."""
        suite = self.root / "dists" / SUITE
        index = suite / INDEX
        index.parent.mkdir(parents=True, exist_ok=True)
        listed = run(["dpkg-scanpackages", "--multiversion", "pool"], cwd=self.root).encode()
        index.write_bytes(listed)
        index.with_suffix(".gz").write_bytes(gzip.compress(listed, mtime=0))
        sums = "".join(
            f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} "
            f"{file.relative_to(suite)}\n"
            for file in (index, index.with_suffix(".gz"))
        )
        (suite / "Release").write_text(
            f"Suite: {SUITE}\nCodename: {SUITE}\nComponents: main\nArchitectures: amd64\n"
            f"Date: {run(['date', '--utc', '--rfc-email']).strip()}\nSHA256:\n{sums}"
        )
        gpg = ["gpg", "--batch", "--yes", "--local-user", key, "--output", suite / "InRelease"]
        run([*gpg, "--clearsign", suite / "Release"], home=self.home)

    def key(self, name: str) -> str:
        """Make a key; its public half as text."""
        quick = ["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "1d"]
        run(["gpg", "--batch", "--pinentry-mode", "loopback", *quick], home=self.home)
        return run(["gpg", "--armor", "--export", name], home=self.home)


@contextmanager
def repository(directory: Path) -> Iterator[tuple[Repository, int]]:
    """An empty repository, and the port at which every address of this machine serves it."""
    made = Repository(root=directory / "repository", home=directory / "gnupg")
    made.root.mkdir()
    made.home.mkdir(mode=0o700)
    handler = partial(SimpleHTTPRequestHandler, directory=made.root)
    with ThreadingHTTPServer(("0.0.0.0", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield made, http.server_address[1]
        finally:
            http.shutdown()
            thread.join()
            subprocess.run(["gpgconf", "--kill", "all"], env=environment(made.home), check=False)


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "GNUPGHOME": str(home)}


def run(command: Sequence[str | Path], cwd: Path | None = None, home: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(home) if home else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
