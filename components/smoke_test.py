"""The guide's last line: a busybox pod asks for ``kubernetes`` and is told where it is.

Makes the pod, and a remote command that asks in it. The pod stays, to be asked again by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes

from components import dns_answer
from components.cluster import Cluster
from components.hosts import Host
from components.recipe import run_recipe

NAMESPACE = "default"
POD = "busybox"
QUESTION = "kubernetes"


@dataclass(frozen=True, kw_only=True)
class SmokeTestArgs:
    """Who asks whom for what."""

    cluster: Cluster
    control: Host
    """Where the question is put from."""

    image: str
    dns_service_ip: str
    """Who has to answer."""

    service_address: str
    """What the answer has to be."""

    after: Sequence[pulumi.Resource]
    """What has to be there before names are answered."""


class SmokeTest(pulumi.ComponentResource):
    """Proof that a pod runs and finds the cluster by name.

    Makes: the pod ``<name>-pod`` and the question ``<name>-<host>``, which fails with the answer
    that it got when that stays wrong for a minute.
    """

    answer: pulumi.Output[str]
    """What the pod was told."""

    def __init__(
        self, name: str, args: SmokeTestArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:SmokeTest", name, {}, opts)

        pod = kubernetes.core.v1.Pod(
            f"{name}-pod",
            metadata={"name": POD, "namespace": NAMESPACE},
            spec={
                "containers": [
                    {
                        "name": "busybox",
                        "image": args.image,
                        "command": ["sleep", "infinity"],
                        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                    }
                ],
                # It has nothing to save when it is asked to end.
                "termination_grace_period_seconds": 1,
            },
            opts=args.cluster.options(self, runs_pods=True),
        )
        question = run_recipe(
            f"{name}-{args.control.name}",
            "smoke-test",
            args.control,
            {
                "SMOKE_POD": POD,
                # Another pod of that name is asked again.
                "SMOKE_POD_UID": pod.metadata.apply(lambda metadata: metadata.uid or ""),
                "SMOKE_NAMESPACE": NAMESPACE,
                "SMOKE_NAME": QUESTION,
                "SMOKE_SERVER": args.dns_service_ip,
                "SMOKE_ADDRESS": args.service_address,
                # The host has Python: the answer is judged where asking again is cheap.
                "SMOKE_JUDGE": Path(dns_answer.__file__).read_text(),
            },
            pulumi.ResourceOptions(parent=self, depends_on=[pod, *args.after]),
        )
        self.answer = question.stdout
        self.register_outputs({"answer": self.answer})
