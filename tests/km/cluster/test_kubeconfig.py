"""kubeconfig files: what is read, and what is said about the ones that cannot be."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from km.cluster.kubeconfig import KubeconfigError, load_kubeconfig


def config(**changes: object) -> dict[str, object]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        **changes,
    }


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_server_and_token_are_read(tmp_path: Path) -> None:
    access = load_kubeconfig(write(tmp_path, config()))

    assert access.servers == ("https://10.0.0.1:6443",)
    assert access.token == "t"


def test_certificates_are_read_inline_and_from_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "client.crt").write_text("certificate")
    cluster = {
        "server": "https://a:1",
        "certificate-authority-data": base64.b64encode(b"authority").decode(),
    }
    user = {"client-certificate": "client.crt"}
    path = write(
        tmp_path,
        config(clusters=[{"name": "k", "cluster": cluster}], users=[{"name": "u", "user": user}]),
    )

    access = load_kubeconfig(path)

    assert (access.ca, access.certificate) == (b"authority", b"certificate")
    with pytest.raises(KubeconfigError, match="certificates cannot be used"):
        access.ssl_context()


def cluster(**fields: object) -> dict[str, object]:
    return {"clusters": [{"name": "k", "cluster": fields}]}


def user(**fields: object) -> dict[str, object]:
    return {"users": [{"name": "u", "user": fields}]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "is not YAML"),
        ("- a", "is no kubeconfig"),
        (config(**{"current-context": "x"}), "contexts has no entry 'x'; there: ['c']"),
        (config(clusters=[]), "clusters has no entry 'k'; there: []"),
        (config(users=None), "users has no entry 'u'"),
        (config(**cluster()), "cluster 'k' has no server URL"),
        (config(**cluster(server="10.0.0.1")), "cluster 'k' has no server URL"),
        (config(**user(exec={})), "user 'u' uses exec, which km does not support"),
        (config(**user(**{"client-key-data": "%"})), "client-key-data is not base64"),
        (config(**user(**{"client-key": "no.key"})), "client-key: no.key: No such file"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(
    tmp_path: Path, content: object, words: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(KubeconfigError) as caught:
        load_kubeconfig(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
