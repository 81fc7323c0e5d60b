"""A kubeconfig file, read strictly: where the API server is, whom it trusts, who we are.

Supports what a host's kubeconfig holds: certificates and tokens, as files or inline. Does not
support exec plugins and auth providers, which need programs that a control host does not have.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(ValueError):
    """A kubeconfig that cannot be used: one line with the file, the key and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to reach an API server."""

    servers: tuple[str, ...]
    """Base URLs, tried in turn: `https://10.90.7.10:6443`."""
    ca: bytes | None = None
    """PEM; None means the system's certificates."""
    certificate: bytes | None = None
    """PEM of the client certificate; `key` belongs to it."""
    key: bytes | None = None
    token: str | None = None
    token_file: Path | None = None
    """Read again for every request, as tokens of pods and hosts are rotated."""
    insecure: bool = False

    def with_servers(self, servers: tuple[str, ...]) -> Access:
        """The same identity at other addresses, if any are given."""
        return replace(self, servers=servers) if servers else self

    def ssl_context(self) -> ssl.SSLContext:
        """The TLS side of it. Raises KubeconfigError when a certificate cannot be used."""
        try:
            context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate and self.key:
                load_chain(context, self.certificate, self.key)
        except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
            raise KubeconfigError(
                f"the kubeconfig's certificates cannot be used: {error}"
            ) from error
        return context


def load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give a context its client certificate; ssl reads it from files only."""
    descriptor, name = tempfile.mkstemp(prefix="km-")  # 0600, and gone again before anyone looks
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()


def load_kubeconfig(path: Path) -> Access:
    """Read the current context of a kubeconfig.

    Raises:
        KubeconfigError: the file is missing, is not YAML, or lacks what is needed.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise KubeconfigError(f"{path}: is not YAML: {words}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(
            f"{path}: is no kubeconfig (a mapping with clusters, users, contexts)"
        )
    current = document.get("current-context")
    context = named(path, document, "contexts", current, "context")
    cluster = named(path, document, "clusters", context.get("cluster"), "cluster")
    user = named(path, document, "users", context.get("user"), "user") if "user" in context else {}
    for key in ("exec", "auth-provider"):
        if key in user:
            raise KubeconfigError(
                f"{path}: user {context['user']!r} uses {key}, which km does not support; "
                "allowed: client-certificate, token, tokenFile"
            )
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"{path}: cluster {context.get('cluster')!r} has no server URL")
    return Access(
        servers=(server.rstrip("/"),),
        ca=data_or_file(path, cluster, "certificate-authority"),
        certificate=data_or_file(path, user, "client-certificate"),
        key=data_or_file(path, user, "client-key"),
        token=user.get("token"),
        token_file=path.parent / user["tokenFile"] if "tokenFile" in user else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
    )


def named(
    path: Path, document: Mapping[str, Any], section: str, name: object, key: str
) -> dict[str, Any]:
    """Find the entry `name` of one of the kubeconfig's lists."""
    for entry in document.get(section) or []:
        if isinstance(entry, dict) and entry.get("name") == name and name is not None:
            value = entry.get(key)
            return value if isinstance(value, dict) else {}
    known = [entry.get("name") for entry in document.get(section) or [] if isinstance(entry, dict)]
    raise KubeconfigError(f"{path}: {section} has no entry {name!r}; there: {known}")


def data_or_file(path: Path, section: Mapping[str, Any], key: str) -> bytes | None:
    """Read `<key>-data` (base64) or the file that `<key>` names, relative to the kubeconfig."""
    inline = section.get(f"{key}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except (binascii.Error, ValueError) as error:
            raise KubeconfigError(f"{path}: {key}-data is not base64: {error}") from error
    name = section.get(key)
    if not name:
        return None
    try:
        return Path(path.parent / str(name)).read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{path}: {key}: {name}: {error.strerror}") from error
