"""Flags and mesos-cloud.conf: what they mean, and one clear line for every mistake."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from km.mesos.leader import MasterUrl
from km.settings import Settings, SettingsError, flag_name, parse_settings

API = "--api-servers=https://127.0.0.1:6443"


def test_without_flags_the_defaults_hold() -> None:
    settings = parse_settings([API])

    assert settings.mesos_master == MasterUrl(hosts=("localhost:5050",))
    assert settings.framework_name == "Kubernetes"
    assert settings.framework_roles == ("*",)
    assert settings.failover_timeout == 604800
    assert settings.nodes == "on-demand"
    assert settings.port == 10251
    assert settings.executor_command == "exec /opt/kubernetes-mesos/bin/km minion"


def test_flags_are_read_with_their_units() -> None:
    settings = parse_settings(
        [
            API,
            "--mesos-master=zk://a:2181,b:2181/mesos",
            "--framework-roles=kubernetes, eng/web",
            "--failover-timeout=168h",
            "--idle-timeout=1m30s",
            "--mesos-executor-cpus=100m",
            "--executor-mem=1Gi",
            "--node-labels=tier=web,example.com/rack=r1",
            "--gather",
            "15ms",
        ]
    )

    assert str(settings.mesos_master) == "zk://a:2181,b:2181/mesos"
    assert settings.framework_roles == ("kubernetes", "eng/web")
    assert settings.failover_timeout == 604800
    assert settings.idle_timeout == 90
    assert settings.executor_cpus == 0.1
    assert settings.executor_mem == 1024
    assert settings.node_labels == (("tier", "web"), ("example.com/rack", "r1"))
    assert settings.gather == 0.015


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--mesos-mastr=a", "unknown flag --mesos-mastr; did you mean --mesos-master?"),
        ("--xyzzy", "unknown flag --xyzzy; see km scheduler --help"),
        ("master", "unexpected argument master"),
        ("--nodes=all", "--nodes: 'all' is not allowed; allowed: on-demand, every-agent"),
        ("--port=99999", "--port: '99999' is no port; allowed: 0 to 65535"),
        ("--port=-1", "--port: '-1' is no port"),
        ("--idle-timeout=5", None),
        ("--idle-timeout=5 s", "--idle-timeout: '5 s' is no duration; allowed: seconds (10)"),
        ("--idle-timeout=0", "--idle-timeout: '0' is not more than 0"),
        ("--idle-timeout=-3s", "--idle-timeout: '-3s' is no duration"),
        ("--executor-cpus=0", "--executor-cpus: '0' is no amount of cpus; allowed: 0.001"),
        ("--executor-mem=1TB", "--executor-mem: '1TB' is no memory; allowed: 1 (MiB) and more"),
        ("--cluster-dns=dns", "--cluster-dns: 'dns' is no IP address"),
        ("--cluster-domain=Cluster", "--cluster-domain: 'Cluster' is no DNS domain"),
        ("--framework-roles=a b", "--framework-roles: 'a b' is no Mesos role"),
        ("--framework-roles=a,", "--framework-roles: '' is no Mesos role"),
        ("--framework-roles=eng/*", "--framework-roles: 'eng/*' is no Mesos role"),
        ("--framework-name=", "--framework-name: is empty"),
        ("--node-labels=a", "--node-labels: 'a' is no label; allowed: key=value"),
        ("--mesos-master=zk://a", "--mesos-master: 'zk://a' has no path"),
        ("--api-servers=127.0.0.1", "--api-servers: '127.0.0.1' is no server"),
        ("--kubeconfig=/nope", "--kubeconfig: /nope is no file"),
        ("--offer-hold=10ms", "--offer-hold: 0.01s is too short for --gather 0.015s"),
        ("--port", "expected one argument"),
        (
            "--mesos-authentication-secret-file=/etc/hostname",
            "is given without --mesos-authentication-principal",
        ),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flag: str, words: str | None) -> None:
    if words is None:
        parse_settings([API, flag])
        return
    with pytest.raises(SettingsError) as caught:
        parse_settings([API, flag])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_by_agent_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"rack3": {}, "rack2": {"tier": "web", "node-role.kubernetes.io/db": ""}}')

    settings = parse_settings([API, f"--agent-labels={path}"])

    assert settings.agent_labels == (
        ("rack2", (("tier", "web"), ("node-role.kubernetes.io/db", ""))),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "labels.json cannot be read: No such file or directory"),
        ("[1]", 'labels.json is not what it should be; allowed: {"AGENT": {"KEY": "VALUE"}}'),
        ("{", "labels.json is not what it should be"),
        ('{"a": {"-": "b"}}', "'-=b' is no label; allowed: key=value"),
    ],
)
def test_wrong_labels_by_agent_are_one_clear_line(
    tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "labels.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(SettingsError) as caught:
        parse_settings([API, f"--agent-labels={path}"])
    assert str(caught.value).startswith("--agent-labels: ")
    assert words in str(caught.value)


def test_an_api_server_is_needed() -> None:
    with pytest.raises(SettingsError, match="--kubeconfig is missing; give it, or --api-servers"):
        parse_settings([])


def conf(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mesos-cloud.conf"
    path.write_text(text)
    return f"--cloud-config={path}"


def test_the_seeds_cloud_config_is_read(tmp_path: Path) -> None:
    text = """
    # how to find Mesos
    [mesos-cloud]
      mesos-master        = "zk://10.0.0.1:2181/mesos" ; three of them later
      http-client-timeout = 7s
      state-cache-ttl     = 20s
    """
    settings = parse_settings([API, conf(tmp_path, text)])

    assert str(settings.mesos_master) == "zk://10.0.0.1:2181/mesos"
    assert settings.http_client_timeout == 7
    assert settings.state_cache_ttl == 20


def test_a_flag_wins_over_the_file(tmp_path: Path) -> None:
    file = conf(tmp_path, "[mesos-cloud]\nmesos-master = a:1\n")

    assert str(parse_settings([API, file, "--mesos-master=b:2"]).mesos_master) == "b:2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mesos-master = a", ":1: 'mesos-master = a' stands before [mesos-cloud]"),
        ("[mesos]\n", ":1: '[mesos]' is not understood; allowed: [mesos-cloud]"),
        ("[mesos-cloud\n", ":1: '[mesos-cloud' is not understood"),
        ("[mesos-cloud]\nmesos-mster = a", ":2: unknown key 'mesos-mster'; did you mean mesos-m"),
        ("[mesos-cloud]\nx = a", ":2: unknown key 'x'; allowed: mesos-master, http-client"),
        ("[mesos-cloud]\n\nmesos-master\n", ":3: mesos-master has no value"),
        ("[mesos-cloud]\nmesos-master =\n", ":2: mesos-master is empty"),
        ('[mesos-cloud]\nmesos-master = "a\n', ':2: mesos-master: "a has no closing quote'),
        ("[mesos-cloud]\nmesos-master = a:b\n", ":2: mesos-master: 'a:b': 'a:b' is no host:port"),
        ("[mesos-cloud]\nstate-cache-ttl = soon", ":2: state-cache-ttl: 'soon' is no duration"),
        (
            "[mesos-cloud]\nmesos-master = a\nmesos-master = b",
            ":3: mesos-master is given twice, first at ",
        ),
    ],
)
def test_a_wrong_cloud_config_names_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings([API, conf(tmp_path, text)])
    assert "mesos-cloud.conf" + words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_cloud_config_is_said() -> None:
    with pytest.raises(SettingsError, match="--cloud-config: /nope: No such file"):
        parse_settings([API, "--cloud-config=/nope"])


def test_the_secret_is_read_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    flags = [API, "--mesos-authentication-principal=km"]
    flags.append(f"--mesos-authentication-secret-file={secret}")

    assert parse_settings(flags).secret() == "hush"
    secret.write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        parse_settings(flags).secret()


def test_the_readme_lists_every_flag_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "km" / "README.md").read_text()
    listed = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `--")}

    assert listed == {flag_name(item) for item in fields(Settings)}
