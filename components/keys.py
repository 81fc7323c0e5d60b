"""Keys and certificates, made on this machine: JSON in, JSON out.

``python -m components.keys authorities``   the authorities and the key of service accounts
``python -m components.keys certificates``  certificates for what is asked for
``python -m components.keys ssh``           a key pair for SSH

Imports nothing of Pulumi: it starts in a tenth of a second, once for each host.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITIES = ("kubernetes", "etcd", "front-proxy")
LIFETIME = timedelta(days=3650)
"""Of certificates. Raising ``certificates_issue`` issues them anew at any time before."""

AUTHORITY_LIFETIME = timedelta(days=7300)
CLOCK_SKEW = timedelta(hours=1)

USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


def make_authorities(_: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Make the authorities, each able to sign for its own purpose only."""
    made = {name: make_authority(name) for name in AUTHORITIES}
    key = ec.generate_private_key(ec.SECP256R1())
    made["service-account"] = {"key": private_pem(key), "public": public_pem(key)}
    return made


def make_authority(name: str) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        unsigned(subject, subject, key.public_key(), AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {"certificate": pem(certificate), "key": private_pem(key)}


def make_certificates(spec: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Issue what is asked for.

    Args:
        spec: ``authorities``: name → certificate and key; ``requests``: name → authority,
            common_name, organizations, names, addresses and usages (``server``, ``client``).
    """
    return {
        name: make_certificate(spec["authorities"][request["authority"]], request)
        for name, request in spec["requests"].items()
    }


def make_certificate(authority: Mapping[str, str], request: Mapping[str, Any]) -> dict[str, str]:
    issuer = x509.load_pem_x509_certificate(authority["certificate"].encode())
    issuer_key = serialization.load_pem_private_key(authority["key"].encode(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            *(
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)
                for organization in request["organizations"]
            ),
            x509.NameAttribute(NameOID.COMMON_NAME, request["common_name"]),
        ]
    )
    usages = x509.ExtendedKeyUsage([USAGES[usage] for usage in request["usages"]])
    builder = (
        unsigned(subject, issuer.subject, key.public_key(), LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    alternatives: list[x509.GeneralName] = [
        *(x509.DNSName(name) for name in request["names"]),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in request["addresses"]),
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return {"certificate": pem(builder.sign(issuer_key, hashes.SHA256())), "key": private_pem(key)}


def make_ssh(spec: Mapping[str, Any]) -> dict[str, str]:
    """Make an ed25519 key pair in OpenSSH's formats; ``comment`` says whose it is."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return {"private": private.decode(), "public": f"{public.decode()} {spec['comment']}"}


def unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    """Begin a certificate; a little in the past, because hosts' clocks differ."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


MAKE = {"authorities": make_authorities, "certificates": make_certificates, "ssh": make_ssh}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in MAKE:
        raise SystemExit(f"usage: python -m components.keys {'|'.join(MAKE)} < spec.json")
    print(json.dumps(MAKE[sys.argv[1]](json.load(sys.stdin)), sort_keys=True))
