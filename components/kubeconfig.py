"""Kubeconfig files: who talks to which API server, and proves it how. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

CONTEXT = "kubernetes-mesos"


def kubeconfig(
    server: str,
    authority: str,
    user: str,
    pair: Mapping[str, str],
    others: Mapping[str, str] | None = None,
) -> str:
    """Write a kubeconfig that needs no other file.

    Args:
        server: URL of the API server.
        authority: PEM certificate that the server's one is signed by.
        user: Name shown for the credentials; rights come from the certificate.
        pair: PEM ``certificate`` and ``key`` of the client.
        others: URLs of further API servers; each is a context of its own, by its name here.
    """
    servers = {CONTEXT: server, **({} if others is None else others)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": url, "certificate-authority-data": encoded(authority)},
            }
            for name, url in servers.items()
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(pair["certificate"]),
                    "client-key-data": encoded(pair["key"]),
                },
            }
        ],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": user}} for name in servers
        ],
        "current-context": CONTEXT,
    }
    # JSON is YAML that every parser agrees on.
    return json.dumps(config, indent=1, sort_keys=True)


def encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
