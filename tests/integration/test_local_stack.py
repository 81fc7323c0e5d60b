"""Stack `local` from nothing to the answer, through a day of use, and back to nothing.

The tests run in the order they stand in: each one finds the stack as the one before left it.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time

import pytest
import yaml

from tests.integration.checkout import Checkout
from tests.integration.cluster import (
    framework,
    items,
    kubectl,
    mesos_state,
    pod_tasks,
    running_pods,
    wait_for,
)
from tests.leftovers import leftovers

pytestmark = [pytest.mark.lab, pytest.mark.integration]

UNCHANGED = re.compile(r"^\s*(\d+) unchanged", re.MULTILINE)


def set_agents(checkout: Checkout, count: int) -> None:
    path = checkout.directory / "stacks" / "Pulumi.local.yaml"
    path.write_text(re.sub(r"agents: \d+", f"agents: {count}", path.read_text()))


def test_a_killed_up_is_taken_up_again_and_ends_with_the_answer(checkout):
    checkout.run("make setup")
    process = checkout.start("make up")
    time.sleep(12)  # hosts are there, their software is on its way
    subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    process.communicate()

    again = checkout.run("make up")

    assert "Server:\t\t10.10.10.10" in again.output
    assert "Address: 10.10.10.1\n" in again.output


def test_a_second_up_changes_nothing(checkout):
    again = checkout.run("make up")

    assert UNCHANGED.search(again.output)
    assert not re.search(r"\d+ (created|updated|deleted|replaced)", again.output)


def logins(checkout: Checkout) -> dict[str, int]:
    """How often somebody has logged in to each host, read at its console and not by logging in."""
    journal = "journalctl --unit=ssh --output=cat --no-pager"
    names = [host["name"] for host in checkout.lab()["hosts"]]
    return {name: checkout.on_host(name, journal).count("Accepted publickey") for name in names}


def test_a_preview_finds_nothing_to_do_and_touches_no_host(checkout):
    before = logins(checkout)
    preview = checkout.run("make preview")

    assert len(before) == 3
    assert all(before.values()), "hosts are set up by logging in"
    assert logins(checkout) == before
    assert UNCHANGED.search(preview.output)
    assert not re.search(r"\d+ to (create|update|delete|replace)", preview.output)


def test_the_pod_asks_for_kubernetes_as_in_the_guide(checkout):
    answer = kubectl(checkout, "exec busybox -- nslookup kubernetes", check=False)

    assert re.search(r"Server:\s+10\.10\.10\.10", answer)
    assert re.search(
        r"Name:\s+kubernetes\.default\.svc\.cluster\.local\nAddress: 10\.10\.10\.1", answer
    )


def test_kube_dns_is_three_of_three_in_kube_system(checkout):
    line = kubectl(checkout, "-n kube-system get pods -l k8s-app=kube-dns --no-headers")

    assert re.search(r"^kube-dns-\S+\s+3/3\s+Running", line)


def test_each_pod_is_a_mesos_task_and_each_node_an_executor(checkout):
    ours = framework(checkout)

    assert set(pod_tasks(checkout)) == set(running_pods(checkout))
    nodes = {node["metadata"]["name"]: node for node in items(checkout, "nodes")}
    hosts = {agent["id"]: agent["hostname"] for agent in mesos_state(checkout)["slaves"]}
    executors = {hosts[task["slave_id"]] for task in ours["tasks"]}
    assert executors == set(nodes)
    assert all(node["spec"]["providerID"].startswith("mesos://") for node in nodes.values())


def test_exec_logs_and_port_forward_work(checkout):
    kubectl(
        checkout,
        "run web --image=docker.io/library/busybox:1.35 --restart=Never --command -- "
        "sh -c 'mkdir /www && echo hello from $(hostname) > /www/index.html && echo started && "
        "exec httpd -f -p 8080 -h /www'",
    )
    kubectl(checkout, "wait --for=condition=Ready pod/web --timeout=60s")

    assert "started" in kubectl(checkout, "logs web")
    assert "hello from web" in kubectl(checkout, "exec web -- cat /www/index.html")
    forwarded = checkout.shell(
        "{ kubectl port-forward pod/web 0:8080 > forward.log & forward=$!; "
        "until port=$(sed -nE 's/.*127.0.0.1:([0-9]+) .*/\\1/p' forward.log) && [ \"$port\" ]; "
        "do sleep 0.1; done; curl -fsS http://127.0.0.1:$port/; kill $forward; }"
    )
    assert "hello from web" in forwarded.output
    kubectl(checkout, "delete pod web --wait --grace-period=1")


SPREAD = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "spread"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "spread"}},
        "template": {
            "metadata": {"labels": {"app": "spread"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "spread"}},
                    }
                ],
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app": "spread"}},
                            }
                        ]
                    }
                },
                "containers": [
                    {
                        "name": "web",
                        "image": "docker.io/library/busybox:1.35",
                        "command": [
                            "sh",
                            "-c",
                            "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www",
                        ],
                        "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}},
                    }
                ],
            },
        },
    },
}


def test_a_deployment_spreads_over_both_agents_and_answers_behind_a_service(checkout):
    (checkout.directory / "spread.yaml").write_text(yaml.safe_dump(SPREAD))
    kubectl(checkout, "apply -f spread.yaml")
    kubectl(checkout, "expose deployment spread --port=80")
    kubectl(checkout, "rollout status deployment/spread --timeout=120s")

    pods = items(checkout, "pods -l app=spread")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"agent-1", "agent-2"}
    names = {pod["metadata"]["name"] for pod in pods}
    asked = "exec busybox -- sh -c 'for i in $(seq 40); do wget -qO- http://spread; done'"
    assert set(kubectl(checkout, asked).split()) == names


def test_km_killed_under_load_loses_no_pod_and_no_task(checkout):
    pods, tasks, framework_id = (
        running_pods(checkout),
        pod_tasks(checkout),
        framework(checkout)["id"],
    )

    checkout.on_host("control-1", "systemctl kill --signal=KILL km-scheduler")
    kubectl(checkout, "scale deployment spread --replicas=1")
    wait_for("one pod less", lambda: len(pod_tasks(checkout)) == len(tasks) - 1)

    assert framework(checkout)["id"] == framework_id
    assert running_pods(checkout).items() <= pods.items()
    assert pod_tasks(checkout).items() <= tasks.items()


def test_a_restarted_mesos_agent_and_master_take_no_pod_with_them(checkout):
    pods, tasks = running_pods(checkout), pod_tasks(checkout)

    checkout.on_host("agent-1", "systemctl kill --kill-whom=main --signal=KILL mesos-agent")
    checkout.on_host("control-1", "systemctl kill --kill-whom=main --signal=KILL mesos-master")
    kubectl(checkout, "scale deployment spread --replicas=2")
    kubectl(checkout, "rollout status deployment/spread --timeout=120s")

    assert pods.items() <= running_pods(checkout).items()
    assert tasks.items() <= pod_tasks(checkout).items()


def test_a_third_agent_is_one_host_more_and_nothing_else(checkout):
    set_agents(checkout, 3)
    before = logins(checkout)
    preview = checkout.shell("pulumi preview -s local")
    assert re.search(r"\d+ to create", preview.output)
    assert not re.search(r"\d+ to (update|delete|replace)", preview.output)
    assert logins(checkout) == before, "a preview logs in nowhere, and makes no host"

    grown = checkout.shell("pulumi up --yes --skip-preview -s local")

    assert not re.search(r"\d+ (updated|deleted|replaced)", grown.output)
    made = re.findall(r"^ \+\s+\S+ (\S+) created", grown.output, re.MULTILINE)
    assert made
    assert all(name.endswith(("agent-3", "agent-3-key")) for name in made), made
    agents = {agent["hostname"] for agent in mesos_state(checkout)["slaves"] if agent["active"]}
    assert agents == {"agent-1", "agent-2", "agent-3"}


def test_an_agent_that_leaves_is_drained_and_its_pods_go_on_elsewhere(checkout):
    set_agents(checkout, 2)
    shrunk = checkout.run("make up")

    assert not re.search(r"\d+ (created|updated|replaced)", shrunk.output)
    agents = {agent["hostname"] for agent in mesos_state(checkout)["slaves"] if agent["active"]}
    assert agents == {"agent-1", "agent-2"}
    assert {node["metadata"]["name"] for node in items(checkout, "nodes")} <= agents
    kubectl(checkout, "rollout status deployment/spread --timeout=60s")


def test_a_lab_whose_processes_were_killed_starts_again_with_its_data(checkout):
    kubectl(checkout, "create configmap kept --from-literal=answer=42")
    lost = {uid for uid, _ in running_pods(checkout).values()}
    for host in checkout.lab()["hosts"]:
        subprocess.run(["kill", "-KILL", str(host["pid"])], check=False)
    wait_for("the lab is dead", lambda: not checkout.lab()["lives"])

    up = checkout.run("make up")

    answer = kubectl(checkout, "get configmap kept -o jsonpath={.data.answer}")
    assert answer.strip() == "42"
    shown = {uid for uid, _ in running_pods(checkout).values()}
    assert not lost & shown, "a pod is shown that ran on a dead host"
    asked = kubectl(checkout, "exec busybox -- nslookup kubernetes", check=False)
    assert "Address: 10.10.10.1\n" in asked
    assert "Address: 10.10.10.1\n" in up.output


def test_a_kubeconfig_is_for_its_owner_alone(checkout):
    path = checkout.run("make -s kubeconfig STACK=local").output.strip()

    assert checkout.run(f"stat -c %a {path}").output.strip() == "600"
    assert (
        "agent-1"
        in checkout.run(f'{kubectl_program(checkout)} --kubeconfig "{path}" get nodes').output
    )


def kubectl_program(checkout: Checkout) -> str:
    return checkout.shell("echo $KUBERNETES_MESOS_KUBECTL").output.strip()


def test_down_leaves_nothing_behind(checkout):
    lab = checkout.lab()["lab"]
    checkout.run("make down")

    assert leftovers(lab) == []


def test_down_after_a_killed_up_leaves_nothing_behind(checkout):
    process = checkout.start("make up")
    time.sleep(9)
    subprocess.run(["pkill", f"-{signal.SIGKILL}", "-s", str(process.pid)], check=False)
    process.communicate()

    lab = checkout.lab()["lab"]
    checkout.run("make down")

    assert leftovers(lab) == []
