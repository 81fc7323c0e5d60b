"""What a PKCS#10 certificate request asks for, read from its DER by hand.

Only what judging a kubelet's serving certificate needs: subject and subject alternative names. The
signature is not checked here; the API server's signer does that. Every deviation is an error, so
that nothing is approved that was not understood.
The rules: RFC 2986 (the request), RFC 5280 (names, extensions).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

OID_COMMON_NAME = "2.5.4.3"
OID_ORGANIZATION = "2.5.4.10"
OID_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
OID_SUBJECT_ALT_NAME = "2.5.29.17"

SEQUENCE, SET, OID, OCTETS, BOOLEAN = 0x30, 0x31, 0x06, 0x04, 0x01
STRINGS = (0x0C, 0x13, 0x16)  # UTF8String, PrintableString, IA5String
ATTRIBUTES = 0xA0
DNS_NAME, IP_ADDRESS = 0x82, 0x87


class CsrError(ValueError):
    """A request that is not what a kubelet sends."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The content of a certificate request."""

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    hostnames: tuple[str, ...]
    addresses: tuple[str, ...]


Element = tuple[int, bytes]
"""A tag and the content below it."""


def read_request(pem: bytes) -> Request:
    """Read a PEM block `CERTIFICATE REQUEST`. Raises CsrError."""
    match = re.search(
        rb"-----BEGIN CERTIFICATE REQUEST-----(.+)-----END CERTIFICATE REQUEST-----", pem, re.DOTALL
    )
    if match is None:
        raise CsrError("is no PEM certificate request")
    try:
        der = base64.b64decode(b"".join(match[1].split()), validate=True)
    except binascii.Error as error:
        raise CsrError(f"is not base64: {error}") from error
    info = elements(only(elements(der), SEQUENCE))[:1]
    parts = elements(only(info, SEQUENCE))
    if len(parts) < 3 or parts[1][0] != SEQUENCE:
        raise CsrError("has no subject")
    names = subject(parts[1][1])
    hostnames, addresses = alternative_names(
        content for tag, content in parts[3:] if tag == ATTRIBUTES
    )
    return Request(
        common_names=tuple(value for kind, value in names if kind == OID_COMMON_NAME),
        organizations=tuple(value for kind, value in names if kind == OID_ORGANIZATION),
        hostnames=hostnames,
        addresses=addresses,
    )


def elements(data: bytes) -> list[Element]:
    """Split DER into its elements."""
    found: list[Element] = []
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 0x1F == 0x1F or at >= len(data):
            raise CsrError("is cut short or uses tags that no request has")
        length, at = data[at], at + 1
        if length & 0x80:
            count = length & 0x7F
            # DER has no indefinite lengths, and a request of 4 GB is none.
            if not 1 <= count <= 4 or at + count > len(data):
                raise CsrError("has a length that is not DER")
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise CsrError("is cut short")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def only(found: list[Element], tag: int) -> bytes:
    if len(found) != 1 or found[0][0] != tag:
        raise CsrError("is not built like a certificate request")
    return found[0][1]


def subject(data: bytes) -> list[tuple[str, str]]:
    names = []
    for tag, relative in elements(data):
        if tag != SET:
            raise CsrError("has a subject that is none")
        for pair_tag, pair in elements(relative):
            parts = elements(pair)
            if pair_tag != SEQUENCE or len(parts) != 2 or parts[0][0] != OID:
                raise CsrError("has a subject that is none")
            if parts[1][0] not in STRINGS:
                raise CsrError("has a subject in an unexpected encoding")
            names.append((oid(parts[0][1]), decoded(parts[1][1])))
    return names


def alternative_names(
    attribute_sets: Iterable[bytes],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    hostnames: list[str] = []
    addresses: list[str] = []
    for content in attribute_sets:
        for tag, attribute in elements(content):
            parts = elements(attribute)
            if tag != SEQUENCE or len(parts) != 2 or parts[0][0] != OID:
                raise CsrError("has attributes that are none")
            if oid(parts[0][1]) != OID_EXTENSION_REQUEST:
                continue
            for _, extension in elements(only(elements(parts[1][1]), SEQUENCE)):
                read_extension(extension, hostnames, addresses)
    return tuple(hostnames), tuple(addresses)


def read_extension(data: bytes, hostnames: list[str], addresses: list[str]) -> None:
    parts = [part for part in elements(data) if part[0] != BOOLEAN]  # `critical` is no content
    if len(parts) != 2 or parts[0][0] != OID or parts[1][0] != OCTETS:
        raise CsrError("has an extension that is none")
    if oid(parts[0][1]) != OID_SUBJECT_ALT_NAME:
        return
    for tag, name in elements(only(elements(parts[1][1]), SEQUENCE)):
        if tag == DNS_NAME:
            hostnames.append(decoded(name))
        elif tag == IP_ADDRESS and len(name) in (4, 16):
            addresses.append(str(ipaddress.ip_address(name)))
        else:
            raise CsrError("asks for names other than DNS names and IP addresses")


def oid(data: bytes) -> str:
    if not data or data[-1] & 0x80:
        raise CsrError("has an object identifier that is none")
    first, *rest = groups(data)
    head = min(first // 40, 2)
    return ".".join(str(number) for number in (head, first - 40 * head, *rest))


def groups(data: bytes) -> list[int]:
    numbers, value = [], 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    return numbers


def decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CsrError("has a name that is not text") from error
