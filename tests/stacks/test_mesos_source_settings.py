"""`mesos.source`: what may be said, and the one message for what may not."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.problems import SettingsError
from stacks.settings import parse_settings

SHA256 = "a" * 64
KEY = {"url": "https://clusterd.example/key.asc", "sha256": SHA256}
ARCHIVE = {"url": "https://mirror.example/mesos.tar.gz", "sha256": SHA256}
PACKAGES = {"url": "https://clusterd.example/Debian/{codename}", "key": KEY, "version": "1.11.0-1"}
MACHINES = [
    {"name": "rack1", "address": "10.0.0.11", "roles": ["control"]},
    {"name": "rack2", "address": "10.0.0.12", "roles": ["agent"]},
]


def stack(source: Any, **hosts: Any) -> dict[str, Any]:
    return {
        "hosts": {"on": "metal", "machines": MACHINES, **hosts},
        "mesos": {"source": source},
    }


@pytest.mark.parametrize("source", [{}, "built"])
def test_without_a_word_it_is_the_labs_own_build(source: Any) -> None:
    parsed = parse_settings("metal", stack(source)).mesos.source

    assert (parsed.archive, parsed.packages) == (None, None)
    assert parsed == parse_settings("metal", {"hosts": {"on": "lab"}}).mesos.source


@pytest.mark.parametrize("url", [ARCHIVE["url"], "/srv/mesos.tar.gz", "~/mesos.tar"])
def test_an_archive_lies_somewhere_and_has_a_digest(url: str) -> None:
    archive = parse_settings("metal", stack({"archive": {**ARCHIVE, "url": url}})).mesos.source

    assert archive.archive is not None
    assert archive.archive.url == url


def test_packages_have_names_of_their_own_unless_the_file_says_others() -> None:
    packages = parse_settings("metal", stack({"packages": PACKAGES})).mesos.source.packages

    assert packages is not None
    assert (packages.suite, packages.component) == ("{codename}", "main")
    assert (packages.package, packages.version) == ("aventer-mesos", "1.11.0-1")
    assert (packages.programs, packages.launchers) == ("/usr/bin", "/usr/libexec/mesos")


@pytest.mark.parametrize(
    ("given", "place", "value", "allowed"),
    [
        pytest.param(
            stack("clusterd"), "", '"clusterd"', "a mapping", id="a word that is no source"
        ),
        pytest.param(
            stack({"archive": ARCHIVE, "packages": PACKAGES}),
            *("", "archive and packages", "one of them"),
            id="two sources",
        ),
        pytest.param(
            stack({"archive": {**ARCHIVE, "url": "http://mirror.example/mesos.tar"}}),
            *(".archive.url", '"http://mirror.example/mesos.tar"', "https://"),
            id="an archive over http",
        ),
        pytest.param(
            stack({"archive": {**ARCHIVE, "url": "mesos.tar"}}),
            *(".archive.url", '"mesos.tar"', "absolute"),
            id="an archive by a relative path",
        ),
        pytest.param(
            stack({"archive": {"url": "/srv/mesos.tar"}}),
            *(".archive.sha256", "missing", "What its content must be"),
            id="an archive without digest",
        ),
        pytest.param(
            stack({"archive": {**ARCHIVE, "sha256": "abc"}}),
            *(".archive.sha256", '"abc"', "64 digits"),
            id="no digest",
        ),
        pytest.param(
            stack({"packages": {name: PACKAGES[name] for name in ("url", "version")}}),
            *(".packages.key", "missing", "The key that it is signed with"),
            id="a repository without key",
        ),
        pytest.param(
            stack({"packages": {**PACKAGES, "url": "[trusted=yes] https://x/y"}}),
            *(".packages.url", '"[trusted=yes] https://x/y"', "without blanks"),
            id="a repository that is to be trusted without key",
        ),
        pytest.param(
            stack({"packages": {**PACKAGES, "suite": "bookworm main"}}),
            *(".packages.suite", '"bookworm main"', "one word"),
            id="a suite of two words",
        ),
        pytest.param(
            stack({"packages": {**PACKAGES, "version": "latest"}}),
            *(".packages.version", '"latest"', "a whole version"),
            id="no version",
        ),
        pytest.param(
            stack({"packages": {**PACKAGES, "package": "mesos; reboot"}}),
            *(".packages.package", '"mesos; reboot"', "Debian package"),
            id="no package",
        ),
        pytest.param(
            stack({"packages": {**PACKAGES, "launchers": "libexec"}}),
            *(".packages.launchers", '"libexec"', "absolute path"),
            id="no directory",
        ),
        pytest.param(
            stack({"packages": PACKAGES}, bundle=True),
            *(".packages", "packages, and hosts.bundle", "ask no repository"),
            id="packages for machines without mirrors",
        ),
        pytest.param(
            {"hosts": {"on": "lab"}, "mesos": {"source": {"packages": PACKAGES}}},
            *(".packages", "packages for hosts of the lab", "built or archive"),
            id="packages in the lab",
        ),
        pytest.param(
            stack({"archiv": ARCHIVE}), ".archiv", "unknown key", "archive, packages", id="a typo"
        ),
    ],
)
def test_a_mistake_is_one_message(given: object, place: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("metal", given)

    text = str(caught.value)
    assert "1 mistake;" in text
    assert f"  cluster.mesos.source{place}: {value}" in text
    assert allowed in text.partition("allowed: ")[2]
    assert "do this: " in text
