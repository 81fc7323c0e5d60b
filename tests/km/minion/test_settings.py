"""minion.json and the agent's variables, and what is said about mistakes in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from km.minion.settings import (
    SettingsError,
    load_settings,
    missing_files,
    parse_identity,
    parse_settings,
    seconds,
)
from tests.km.minion.one_agent import host_files

GIVEN: dict[str, Any] = {
    "kubeconfig": "/k",
    "proxy_kubeconfig": "/p",
    "flannel_kubeconfig": "/f",
    "client_ca": "/c",
    "node_ip": "10.90.7.21",
    "pod_network": "10.244.0.0/16",
}
ENVIRONMENT = {
    "MESOS_FRAMEWORK_ID": "f",
    "MESOS_EXECUTOR_ID": "km-a",
    "MESOS_DIRECTORY": "/work/slaves/s/frameworks/f/executors/km-a/runs/1234-5678",
    "MESOS_AGENT_ENDPOINT": "10.0.0.1:5051",
}


def test_every_promised_default() -> None:
    settings = parse_settings(GIVEN, "minion.json")

    assert settings.bin_dir == "/opt/kubernetes-mesos/bin"
    assert settings.cni_bin_dir == "/opt/kubernetes-mesos/cni"
    assert settings.cni_conf_dir == "/etc/cni/net.d"
    assert settings.serving_certificate is None
    assert settings.container_runtime_endpoint == "unix:///run/containerd/containerd.sock"
    assert settings.local_storage_capacity_isolation is True
    assert settings.state_dir == "/var/lib/kubernetes-mesos/minion"
    assert settings.kubelet_root == "/var/lib/kubelet"
    assert settings.pod_logs == "/var/log/pods"
    assert settings.max_pods == 250
    assert settings.memory_without_limit == "node"
    assert settings.log_bytes == 10 * 2**20


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], r"m.json: must be an object, got list"),
        ({**GIVEN, "kubeconf": "/k"}, r"m.json: unknown key 'kubeconf'; allowed: kubeconfig, "),
        ({k: v for k, v in GIVEN.items() if k != "node_ip"}, r"m.json: key 'node_ip' is missing"),
        ({**GIVEN, "node_ip": None}, r"m.json: node_ip must be str, got None"),
        ({**GIVEN, "max_pods": "12"}, r"m.json: max_pods must be int, got '12'"),
        ({**GIVEN, "max_pods": True}, r"m.json: max_pods must be int, got True"),
        (
            {**GIVEN, "local_storage_capacity_isolation": "no"},
            r"local_storage_capacity_isolation must be bool, got 'no'",
        ),
        ({**GIVEN, "serving_key": "/k"}, r"serving_certificate and serving_key go together"),
        ({**GIVEN, "memory_without_limit": "all"}, r"is 'all'; allowed: request, node"),
    ],
)
def test_a_mistake_is_one_line_with_place_and_value(given: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        parse_settings(given, "m.json")

    assert "\n" not in str(caught.value)


def test_a_missing_file_and_bad_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"minion.json: No such file"):
        load_settings(str(tmp_path / "minion.json"))
    (tmp_path / "minion.json").write_text("{")
    with pytest.raises(SettingsError, match=r"minion.json: not JSON"):
        load_settings(str(tmp_path / "minion.json"))


def test_everything_that_is_missing_on_the_host_is_told_at_once(tmp_path: Path) -> None:
    path = host_files(tmp_path / "host")
    assert missing_files(load_settings(str(path))) == []

    (tmp_path / "host/bin/flanneld").unlink()
    (tmp_path / "host/ca.crt").unlink()
    given = {**json.loads(path.read_text()), "cni_bin_dir": "/nowhere"}

    assert missing_files(parse_settings(given, "x")) == [
        f"{tmp_path}/host/bin/flanneld is no executable file",
        f"{tmp_path}/host/ca.crt cannot be read",
        "/nowhere is missing",
    ]


def test_identity_without_a_checkpointing_framework() -> None:
    identity = parse_identity(ENVIRONMENT)

    assert identity.container_id == "1234-5678"
    assert identity.sandbox == ENVIRONMENT["MESOS_DIRECTORY"]
    assert identity.token is None
    assert identity.checkpoint is False
    assert identity.recovery_timeout == 900
    assert identity.grace_period == 5


def test_identity_with_everything() -> None:
    identity = parse_identity(
        {
            **ENVIRONMENT,
            "MESOS_SANDBOX": "/mnt/mesos/sandbox",
            "MESOS_CHECKPOINT": "1",
            "MESOS_RECOVERY_TIMEOUT": "2.5mins",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "10secs",
            "MESOS_EXECUTOR_AUTHENTICATION_TOKEN": "abc",
        }
    )

    assert (identity.sandbox, identity.container_id) == ("/mnt/mesos/sandbox", "1234-5678")
    assert (identity.checkpoint, identity.token) == (True, "abc")
    assert (identity.recovery_timeout, identity.grace_period) == (150, 10)


def test_started_by_hand_it_says_who_starts_it() -> None:
    with pytest.raises(SettingsError, match=r"MESOS_DIRECTORY is not set: .* Mesos agent"):
        parse_identity({})


@pytest.mark.parametrize("text", ["", "15", "minutes", "5 secs", "1e3secs", "-1secs"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is no duration"):
        seconds(text)
