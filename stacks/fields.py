"""The kinds of value that settings are made of, each refused with what is allowed instead."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator

from stacks.problems import wrong

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123: one part of a DNS name."""

ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,50}[A-Za-z0-9])?")
"""A Mesos attribute's name: it ends up in the label key ``…/attribute-<name>`` of at most 63."""

ATTRIBUTE_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""A Mesos attribute's value: it ends up as a Kubernetes label's value."""

INTERVAL = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(ms|secs|mins)")
"""A duration as Mesos writes it."""

IMAGE = re.compile(
    r"[a-z0-9][-a-z0-9._:/]*(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}|@sha256:[0-9a-f]{64})"
)


def as_network(value: Any) -> IPv4Network:
    try:
        if not isinstance(value, str):
            raise AddressValueError
        return IPv4Network(value)
    except (AddressValueError, NetmaskValueError):
        raise wrong("an IPv4 network such as 10.244.0.0/16", "write address/length") from None
    except ValueError:  # host bits are set
        network = IPv4Network(value, strict=False)
        raise wrong(
            "an IPv4 network: the address part must be its first address",
            f"did you mean {network}?",
        ) from None


def as_address(value: Any) -> IPv4Address:
    try:
        if not isinstance(value, str):
            raise AddressValueError
        return IPv4Address(value)
    except AddressValueError:
        raise wrong("an IPv4 address such as 10.10.10.10", "write four numbers with dots") from None


def check_domain(value: str) -> str:
    if len(value) > 200 or not all(LABEL.fullmatch(part) for part in value.split(".")):
        raise wrong(
            "DNS labels joined by dots: a-z, 0-9 and '-', not first or last, at most 63 each",
            "write a name such as cluster.local",
        )
    return value


def check_interval(value: str) -> str:
    if not INTERVAL.fullmatch(value):
        raise wrong("a Mesos duration: a number and ms, secs or mins", "write for example 200ms")
    return value


def check_image(value: str) -> str:
    if not IMAGE.fullmatch(value):
        raise wrong(
            "an image with a tag or a digest, such as docker.io/library/busybox:1.36",
            "name the version: an image that may change under the same name is refused",
        )
    return value


def check_odd(value: int) -> int:
    if value % 2 == 0:
        raise wrong(
            "an odd number",
            f"use {value - 1 or 1} or {value + 1}: of an even number, one more may not fail "
            "than of the odd number below it",
        )
    return value


def check_attributes(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not ATTRIBUTE_NAME.fullmatch(name) or not ATTRIBUTE_VALUE.fullmatch(text):
            raise wrong(
                "names (at most 52) and values (at most 63) of letters, digits, '-', '_' and '.', "
                "which are neither first nor last",
                f"correct {name}: {text}; it becomes the label k8s.mesosphere.io/attribute-{name}",
            )
    return value


Network = Annotated[IPv4Network, PlainValidator(as_network)]
Address = Annotated[IPv4Address, PlainValidator(as_address)]
Domain = Annotated[str, AfterValidator(check_domain)]
Interval = Annotated[str, AfterValidator(check_interval)]
Image = Annotated[str, AfterValidator(check_image)]
Odd = Annotated[int, AfterValidator(check_odd)]
Attributes = Annotated[dict[str, str], AfterValidator(check_attributes)]
