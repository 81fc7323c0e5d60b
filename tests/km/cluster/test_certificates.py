"""Certificate requests of kubelets, made by a real library and read by ours."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from km.cluster.certificates import SIGNER, is_open, requested
from km.cluster.csr import CsrError, read_request
from km.events import CertificateRequested

KEY = ec.generate_private_key(ec.SECP256R1())
USER = "system:node:agent-1"


def pem(
    common_name: str = USER,
    organizations: tuple[str, ...] = ("system:nodes",),
    names: tuple[Any, ...] = (
        x509.DNSName("agent-1"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.21")),
    ),
    *,
    critical: bool = False,
) -> bytes:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def request(content: bytes, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "csr-1"},
        "spec": {
            "signerName": SIGNER,
            "username": USER,
            "groups": ["system:nodes", "system:authenticated"],
            "usages": ["digital signature", "server auth"],
            "request": base64.b64encode(content).decode(),
            **spec,
        },
    }


@pytest.mark.parametrize("critical", [False, True])
def test_a_kubelets_request_is_read(critical: bool) -> None:
    assert requested(request(pem(critical=critical))) == CertificateRequested(
        name="csr-1",
        username=USER,
        hostnames=("agent-1",),
        addresses=("10.0.0.21",),
        usages=("digital signature", "server auth"),
    )


def test_an_ipv6_address_is_read() -> None:
    found = read_request(pem(names=(x509.IPAddress(ipaddress.ip_address("fd00::21")),)))
    assert found.addresses == ("fd00::21",)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param(lambda: request(pem("system:node:other")), "comes from", id="other node"),
        pytest.param(
            lambda: request(pem(organizations=("system:masters",))), "groups", id="masters"
        ),
        pytest.param(
            lambda: request(pem(organizations=("system:nodes", "system:masters"))),
            "groups",
            id="one group more",
        ),
        pytest.param(lambda: request(pem(names=())), "names no host", id="no names"),
        pytest.param(
            lambda: request(pem(names=(x509.RFC822Name("a@b.c"),))), "other than DNS", id="e-mail"
        ),
        pytest.param(
            lambda: request(pem(names=(x509.UniformResourceIdentifier("spiffe://x"),))),
            "other than DNS",
            id="uri",
        ),
        pytest.param(lambda: request(pem(), username="eve"), "which is no node", id="no node"),
        pytest.param(lambda: request(pem(), groups=["eve"]), "which is no node", id="no group"),
        pytest.param(lambda: request(b"hello"), "no PEM", id="no PEM"),
        pytest.param(lambda: request(pem(), request="%"), "not base64", id="no base64"),
        pytest.param(
            lambda: request(
                b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----"
            ),
            "length that is not DER",
            id="cut",
        ),
    ],
)
def test_a_request_that_is_not_about_its_sender_is_an_error(made: Any, words: str) -> None:
    with pytest.raises(CsrError, match=words):
        requested(made())


def test_judged_and_foreign_requests_are_not_open() -> None:
    mine = request(pem())
    assert is_open(mine)
    assert not is_open({**mine, "status": {"conditions": [{"type": "Approved"}]}})
    assert not is_open({**mine, "status": {"certificate": "…"}})
    assert not is_open(request(pem(), signerName="kubernetes.io/kube-apiserver-client"))


@settings(deadline=None)  # machines that run tests are busy
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    block = base64.encodebytes(noise)
    content = b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----" % block
    try:
        read_request(content)
    except CsrError as error:
        assert str(error)  # noqa: PT017 - or no error at all


@settings(deadline=None)  # machines that run tests are busy
@given(st.integers(0, 250), st.integers(0, 255))
def test_a_changed_byte_never_breaks_the_reader(at: int, value: int) -> None:
    der = bytearray(base64.b64decode(b"".join(pem().splitlines()[1:-1])))
    der[at % len(der)] = value
    block = base64.encodebytes(bytes(der))
    content = b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----" % block
    try:
        read_request(content)
    except CsrError as error:
        assert str(error)  # noqa: PT017 - or no error at all
