"""Pki: which certificates there are, and who gets them."""

from __future__ import annotations

import json

from components.pki import Pki, PkiArgs, host_requests
from tests.components.machines import host, hosts


def arguments(**more):
    return PkiArgs(**{"hosts": hosts(), "service_address": "10.10.10.1", **more})


def test_it_makes_authorities_and_one_bundle_for_each_host_and_the_operator(recorder, run):
    run(lambda: Pki("pki", arguments()).operator)

    assert recorder.children("pki") == [
        (f"pki-{name}", "command:local:Command")
        for name in ("agent-1", "agent-2", "authorities", "control-1", "operator")
    ]


def test_authorities_never_change(recorder, run):
    run(lambda: Pki("pki", arguments()).operator)

    inputs = recorder["pki-authorities"].inputs
    assert inputs["update"] == 'printf %s "$PULUMI_COMMAND_STDOUT"'
    assert inputs["addPreviousOutputInEnv"] is True
    assert inputs["stdin"] == "{}"


def test_nothing_secret_is_logged_or_on_a_command_line(recorder, run):
    run(lambda: Pki("pki", arguments()).operator)

    for made in recorder.made[1:]:
        assert made.inputs["logging"] == "stderr"
        assert "KEY" not in made.inputs["create"]


def test_an_agent_gets_only_the_kubernetes_authoritys_signature(recorder, run):
    run(lambda: Pki("pki", arguments()).operator)

    spec = json.loads(recorder["pki-agent-1"].inputs["stdin"])
    assert list(spec["authorities"]) == ["kubernetes"]
    assert sorted(spec["requests"]) == ["flannel", "kube-proxy", "kubelet", "kubelet-server"]
    assert spec["requests"]["kubelet"] == {
        "authority": "kubernetes",
        "common_name": "system:node:agent-1",
        "organizations": ["system:nodes"],
        "names": [],
        "addresses": [],
        "usages": ["client"],
    }
    assert spec["requests"]["kubelet-server"]["addresses"] == ["10.90.7.21"]


def test_the_api_servers_certificate_has_every_name_that_it_is_called_by(recorder, run):
    run(lambda: Pki("pki", arguments(domain="example.test")).operator)

    request = json.loads(recorder["pki-control-1"].inputs["stdin"])["requests"]["apiserver"]
    assert request["names"] == [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.example.test",
        "control-1",
        "localhost",
    ]
    assert request["addresses"] == ["10.90.7.10", "10.10.10.1", "127.0.0.1"]
    assert request["usages"] == ["server"]


def test_only_operators_are_masters_of_everything(recorder):
    masters = {
        name
        for one in (host("control-1"), host("agent-1"))
        for name, request in host_requests(one, arguments(), "10.90.7.10").items()
        if "system:masters" in request["organizations"]
    }

    assert masters == {"admin"}


def test_raising_issue_changes_every_bundle_and_no_authority(recorder, run):
    run(lambda: Pki("pki", arguments(issue=2)).operator)

    assert json.loads(recorder["pki-agent-1"].inputs["stdin"])["issue"] == 2
    assert recorder["pki-authorities"].inputs["stdin"] == "{}"
