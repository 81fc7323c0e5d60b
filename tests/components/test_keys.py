"""Keys and certificates, read back with the libraries that will read them."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys

import asyncssh
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from components.keys import make_authorities, make_certificates, make_ssh

REQUEST = {
    "authority": "kubernetes",
    "common_name": "system:node:agent-1",
    "organizations": ["system:nodes"],
    "names": ["agent-1"],
    "addresses": ["10.90.7.21"],
    "usages": ["server"],
}


@pytest.fixture(scope="module")
def authorities():
    return make_authorities({})


def issue(authorities, **more):
    made = make_certificates({"authorities": authorities, "requests": {"it": {**REQUEST, **more}}})
    return made["it"], x509.load_pem_x509_certificate(made["it"]["certificate"].encode())


def test_there_is_an_authority_for_each_purpose_and_a_key_for_service_accounts(authorities):
    assert sorted(authorities) == ["etcd", "front-proxy", "kubernetes", "service-account"]
    assert sorted(authorities["service-account"]) == ["key", "public"]


def test_an_authority_may_sign_certificates_but_no_further_authorities(authorities):
    certificate = x509.load_pem_x509_certificate(authorities["etcd"]["certificate"].encode())

    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=0)
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_certificate_is_signed_by_the_authority_that_was_asked_for(authorities):
    _, certificate = issue(authorities)

    for name in ("kubernetes", "etcd"):
        issuer = x509.load_pem_x509_certificate(authorities[name]["certificate"].encode())
        if name == "kubernetes":
            certificate.verify_directly_issued_by(issuer)
        else:
            with pytest.raises(ValueError, match=r"[Ii]ssuer"):
                certificate.verify_directly_issued_by(issuer)


def test_a_certificate_says_what_was_asked_for(authorities):
    _, certificate = issue(authorities)

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    (common,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    (organization,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert common.value == "system:node:agent-1"
    assert organization.value == "system:nodes"
    assert names.get_values_for_type(x509.DNSName) == ["agent-1"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.90.7.21")]
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_clients_certificate_has_no_names(authorities):
    _, certificate = issue(authorities, names=[], addresses=[], usages=["client"])

    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_the_key_fits_the_certificate(authorities):
    pair, certificate = issue(authorities)

    key = serialization.load_pem_private_key(pair["key"].encode(), None)
    assert key.public_key() == certificate.public_key()


def test_an_ssh_key_pair_is_one_that_openssh_reads():
    pair = make_ssh({"comment": "operator of abc"})

    private = asyncssh.import_private_key(pair["private"])
    assert pair["public"].endswith(" operator of abc")
    assert private.export_public_key().decode().split()[:2] == pair["public"].split()[:2]
    assert pair["public"].startswith("ssh-ed25519 ")


def run(*arguments, stdin="{}"):
    command = [sys.executable, "-m", "components.keys", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def test_the_program_reads_and_prints_json():
    done = run("ssh", stdin='{"comment": "x"}')

    assert sorted(json.loads(done.stdout)) == ["private", "public"]


def test_an_unknown_command_is_refused():
    done = run("tea")

    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m components.keys authorities|certificates|ssh")


def test_starting_it_imports_nothing_of_pulumi():
    code = "import components.keys, sys; print([m for m in sys.modules if m.startswith('pulumi')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
