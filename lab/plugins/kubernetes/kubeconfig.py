"""Reading a kubeconfig as kubectl would, and the TLS and credentials that follow from it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Keys whose values are paths, relative to the kubeconfig."""


class KubeconfigError(ValueError):
    """The kubeconfig cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cluster and who talks to it: entries of a kubeconfig as they are there."""

    cluster: dict[str, Any]
    user: dict[str, Any]
    namespace: str


def load_kubeconfig(text: str | None, context: str | None, cluster: str | None) -> Target:
    """Choose from a kubeconfig, which is given as contents or path; None: as kubectl finds it.

    Raises KubeconfigError.
    """
    text = text or os.environ.get("KUBECONFIG") or "~/.kube/config"
    base = Path()
    if "\n" not in text and not text.lstrip().startswith("{"):
        path = Path(text).expanduser()
        base = path.absolute().parent
        try:
            text = path.read_text()
        except OSError as error:
            raise KubeconfigError(f"{path}: {error.strerror}") from None
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KubeconfigError(f"not YAML: {error}") from None
    if not isinstance(config, dict):
        raise KubeconfigError("neither a file nor a YAML document")
    chosen = entry(config, base, "context", context or config.get("current-context"))
    user = entry(config, base, "user", chosen["user"]) if chosen.get("user") else {}
    return Target(
        cluster=entry(config, base, "cluster", cluster or chosen.get("cluster")),
        user=user,
        namespace=chosen.get("namespace") or "default",
    )


def entry(config: dict[str, Any], base: Path, kind: str, name: str | None) -> dict[str, Any]:
    items = config.get(f"{kind}s") or []
    found = [item[kind] for item in items if item["name"] == name]
    if not found:
        names = ", ".join(item["name"] for item in items) or "none"
        raise KubeconfigError(f"no {kind} {name!r}; there is {names}")
    values = found[0] or {}
    return {k: str(base / value) if k in FILES else value for k, value in values.items()}


def tls_context(target: Target) -> ssl.SSLContext:
    cluster, user = target.cluster, target.user
    context = ssl.create_default_context()
    if "certificate-authority-data" in cluster:
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
    elif "certificate-authority" in cluster:
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as files:

        def path(name: str) -> str | None:
            if f"{name}-data" not in user:
                given: str | None = user.get(name)
                return given
            file = files.enter_context(tempfile.NamedTemporaryFile())  # mode 0600
            file.write(base64.b64decode(user[f"{name}-data"]))
            file.flush()
            return file.name

        if certificate := path("client-certificate"):
            context.load_cert_chain(certificate, path("client-key"))
    return context


async def credentials(target: Target) -> dict[str, str]:
    """The headers that say who we are; none with a client certificate."""
    user = target.user
    if "exec" in user:
        user = await run_plugin(user["exec"])
    if "tokenFile" in user:
        token = Path(user["tokenFile"]).read_text()  # noqa: ASYNC240 -- a small local file
        return {"Authorization": f"Bearer {token.strip()}"}
    if "token" in user:
        return {"Authorization": f"Bearer {user['token']}"}
    if "username" in user:
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


async def run_plugin(plugin: dict[str, Any]) -> dict[str, Any]:
    """Ask a client-go credential plugin: a program that prints an ExecCredential."""
    env = {**os.environ, **{item["name"]: item["value"] for item in plugin.get("env") or []}}
    command = [plugin["command"], *(plugin.get("args") or [])]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=pipe)
    output, _ = await process.communicate()
    if process.returncode:
        raise KubeconfigError(f"{' '.join(command)} exited with status {process.returncode}")
    status: dict[str, Any] = json.loads(output)["status"]
    return status
