"""Which answers of nslookup count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components import dns_answer
from components.dns_answer import judge

SERVER, ADDRESS = "10.10.10.10", "10.10.10.1"

OLD_BUSYBOX = """\
Server:    10.10.10.10
Address 1: 10.10.10.10 kube-dns.kube-system.svc.cluster.local

Name:      kubernetes
Address 1: 10.10.10.1 kubernetes.default.svc.cluster.local
"""
NEW_BUSYBOX = """\
Server:\t\t10.10.10.10
Address:\t10.10.10.10:53

** server can't find kubernetes.svc.cluster.local: NXDOMAIN

Name:\tkubernetes.default.svc.cluster.local
Address: 10.10.10.1

** server can't find kubernetes.cluster.local: NXDOMAIN
"""
NO_SERVER = """\
Server:    10.10.10.10
Address 1: 10.10.10.10

nslookup: can't resolve 'kubernetes'
"""


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        pytest.param(OLD_BUSYBOX, None, id="busybox up to 1.29"),
        pytest.param(NEW_BUSYBOX, None, id="busybox from 1.30"),
        pytest.param(NO_SERVER, "got nobody, expected 10.10.10.1", id="no such name"),
        pytest.param("", "answered by nobody, expected 10.10.10.10", id="nothing"),
        pytest.param(
            NEW_BUSYBOX.replace("10.10.10.10", "8.8.8.8"),
            "answered by 8.8.8.8, expected 10.10.10.10",
            id="another server",
        ),
        pytest.param(
            NEW_BUSYBOX.replace("Address: 10.10.10.1", "Address: 10.10.10.100"),
            "got 10.10.10.100, expected 10.10.10.1",
            id="an address that only begins like the right one",
        ),
        pytest.param(
            ";; connection timed out; no servers could be reached",
            "answered by nobody, expected 10.10.10.10",
            id="time out",
        ),
        pytest.param(
            'error: unable to upgrade connection: container not found ("busybox")',
            "answered by nobody, expected 10.10.10.10",
            id="no pod",
        ),
    ],
)
def test_an_answer_is_judged_by_who_answered_and_what(answer, wrong):
    assert judge(answer, SERVER, ADDRESS) == wrong


@pytest.mark.parametrize(("answer", "status"), [(NEW_BUSYBOX, 0), (NO_SERVER, 1)])
def test_its_source_alone_judges_on_a_host(answer, status):
    source = Path(dns_answer.__file__).read_text()
    command = [sys.executable, "-I", "-c", source, SERVER, ADDRESS]
    done = subprocess.run(command, input=answer, capture_output=True, text=True, check=False)

    assert done.returncode == status
