"""Is an answer of ``nslookup`` the right one? Pure, and runs on hosts by itself.

``python3 dns_answer.py SERVER ADDRESS < answer``: exits 1 and says why when it is wrong.
"""

from __future__ import annotations

import re
import sys


def judge(answer: str, server: str, address: str) -> str | None:
    """Say what is wrong with an answer; None when it is right.

    The exit status of ``nslookup`` says nothing: since 1.30, busybox asks every search domain and
    fails because the others have no such name. Its forms: ``Address 1: 10.10.10.10 kube-dns…``
    (up to 1.29) and ``Address:	10.10.10.10:53`` (later).

    Args:
        answer: What nslookup printed.
        server: The address that must have answered.
        address: The address that the name must have.
    """
    head, *rest = re.split(r"(?m)^Name:", answer)
    if server not in addresses(head):
        return f"answered by {spoken(addresses(head))}, expected {server}"
    found = [one for block in rest for one in addresses(block)]
    if address not in found:
        return f"got {spoken(found)}, expected {address}"
    return None


def addresses(text: str) -> list[str]:
    """Find the addresses in lines that begin with ``Server`` or ``Address``, without ports."""
    pattern = r"(?m)^(?:Server|Address)(?: \d+)?:\s+(\d+\.\d+\.\d+\.\d+)"
    return re.findall(pattern, text)


def spoken(found: list[str]) -> str:
    return ", ".join(dict.fromkeys(found)) or "nobody"


if __name__ == "__main__":
    if wrong := judge(sys.stdin.read(), *sys.argv[1:3]):
        raise SystemExit(wrong)
