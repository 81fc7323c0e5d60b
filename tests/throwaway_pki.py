"""A certificate authority for one test, in one directory."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pki:
    """One throw-away certificate authority and what it signs, all in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "ca.crt").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            self.write("ca", key, self.certificate("test-ca", (), key.public_key(), key, ca=True))
            self.write("service-account", ec.generate_private_key(ec.SECP256R1()), None)

    def path(self, file: str) -> str:
        return str(self.directory / file)

    def write(
        self, name: str, key: ec.EllipticCurvePrivateKey, crt: x509.Certificate | None
    ) -> None:
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            # kube-apiserver reads elliptic service account keys in this form only, not in PKCS #8.
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (self.directory / f"{name}.key").write_bytes(pem)
        if crt:
            (self.directory / f"{name}.crt").write_bytes(
                crt.public_bytes(serialization.Encoding.PEM)
            )

    def certificate(
        self,
        name: str,
        groups: tuple[str, ...],
        public: ec.EllipticCurvePublicKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        addresses: tuple[str, ...] = (),
    ) -> x509.Certificate:
        common = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        common += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ("127.0.0.1", *addresses)),
        ]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name(common))
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(signer, hashes.SHA256())
        )

    def issue(
        self,
        name: str,
        subject: str,
        groups: tuple[str, ...] = (),
        addresses: tuple[str, ...] = (),
    ) -> None:
        """Write `<name>.key` and `<name>.crt`, signed by the authority."""
        ca = serialization.load_pem_private_key((self.directory / "ca.key").read_bytes(), None)
        assert isinstance(ca, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self.certificate(subject, groups, key.public_key(), ca, addresses=addresses)
        self.write(name, key, signed)

    def kubeconfig(self, server: str, user: str, groups: tuple[str, ...]) -> Path:
        file = user.replace(":", "-")
        self.issue(file, user, groups)

        def embedded(name: str) -> str:
            return base64.b64encode((self.directory / name).read_bytes()).decode()

        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": server, "certificate-authority-data": embedded("ca.crt")},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": embedded(f"{file}.crt"),
                        "client-key-data": embedded(f"{file}.key"),
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path = self.directory / f"{file}.kubeconfig"
        path.write_text(json.dumps(config, indent=2))
        path.chmod(0o600)
        return path
