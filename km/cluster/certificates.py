"""Certificate requests of kubelets: which are in order, so that the core may judge them.

The core decides whether km launched the node; this module makes sure that a request is about that
node and nothing else. https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from km.cluster.csr import CsrError, read_request
from km.events import CertificateRequested

COLLECTION = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kubelet-serving"
NODE_USER = "system:node:"
NODE_GROUP = "system:nodes"


def is_open(request: Mapping[str, Any]) -> bool:
    """Whether it is a kubelet's serving certificate that nobody has judged yet."""
    spec, status = request.get("spec") or {}, request.get("status") or {}
    return (
        spec.get("signerName") == SIGNER
        and not status.get("conditions")
        and not status.get("certificate")
    )


def requested(request: Mapping[str, Any]) -> CertificateRequested:
    """What is asked for.

    Raises:
        CsrError: the request's content is not about the node that sends it.
    """
    spec = request["spec"]
    username = str(spec.get("username", ""))
    try:
        content = read_request(base64.b64decode(spec.get("request", ""), validate=True))
    except binascii.Error as error:
        raise CsrError(f"is not base64: {error}") from error
    if not username.startswith(NODE_USER) or NODE_GROUP not in (spec.get("groups") or []):
        raise CsrError(f"comes from {username!r}, which is no node")
    if content.common_names != (username,):
        raise CsrError(f"asks for {content.common_names} and comes from {username!r}")
    if content.organizations != (NODE_GROUP,):
        raise CsrError(f"asks for the groups {content.organizations}; allowed: {NODE_GROUP}")
    if not content.hostnames and not content.addresses:
        raise CsrError("names no host and no address")
    return CertificateRequested(
        name=request["metadata"]["name"],
        username=username,
        hostnames=content.hostnames,
        addresses=content.addresses,
        usages=tuple(spec.get("usages") or ()),
    )
