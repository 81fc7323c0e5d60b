"""Kubernetes on Mesos: machines, keys, quorum, masters, control plane, agents, DNS, proof."""

import asyncio
import gc

import pulumi

import preflight
from components.cluster import Cluster, ClusterArgs
from components.control_plane import ControlPlane, ControlPlaneArgs
from components.kube_dns import KubeDns, KubeDnsArgs
from components.mesos_agents import MesosAgents, MesosAgentsArgs
from components.mesos_framework import MesosFramework, framework_args
from components.mesos_masters import MesosMasters, MesosMastersArgs
from components.mesos_sharing import MesosSharing, MesosSharingArgs, role_shares
from components.mesos_source import obtain_mesos
from components.node_runtime import NodeRuntime, NodeRuntimeArgs
from components.pki import Pki, PkiArgs
from components.programs import program_versions
from components.provision import provision_hosts
from components.smoke_test import SmokeTest, SmokeTestArgs
from components.zookeeper import ZooKeeper, ZooKeeperArgs
from stacks.settings import load_settings

# So short a program leaves no garbage worth looking for: with 100 machines, that took a quarter of
# a preview.
gc.disable()

settings = load_settings(pulumi.Config())
mesos = obtain_mesos(settings.mesos.source)
versions = program_versions(mesos.version)
identity = f"{pulumi.get_project()}/{pulumi.get_stack()}"

findings = preflight.require(
    settings.hosts,
    identity,
    settings.images.on_nodes,
    preflight.chosen(settings.frameworks, settings.mesos.roles),
)
hosts = provision_hosts(
    "hosts",
    settings.hosts,
    findings,
    ask=preflight.Asker().ask,
    versions=versions,
    repository=mesos.repository,
    scheduler_ports=settings.scheduler_ports,
)

pki = Pki(
    "pki",
    PkiArgs(
        hosts=hosts,
        service_address=settings.networks.kubernetes_service,
        domain=settings.dns.domain,
        issue=settings.certificates_issue,
    ),
)

zookeeper = ZooKeeper("zookeeper", ZooKeeperArgs(hosts=hosts.control))
masters = MesosMasters(
    "mesos-master",
    MesosMastersArgs(
        hosts=hosts.control,
        zookeeper_url=zookeeper.url,
        versions=versions,
        cluster=identity,
        allocation_interval=settings.mesos.allocation_interval,
    ),
)

runtime = NodeRuntime(
    "node-runtime",
    NodeRuntimeArgs(
        hosts=hosts.agents,
        api_servers=hosts.control,
        pki=pki,
        versions=versions,
        pod_network=str(settings.networks.pods),
        pause_image=settings.images.pause,
        images=settings.images.for_pods,
    ),
)

control_plane = ControlPlane(
    "control-plane",
    ControlPlaneArgs(
        hosts=hosts.control,
        pki=pki,
        mesos_master=masters.found_at,
        versions=versions,
        pod_network=str(settings.networks.pods),
        service_network=str(settings.networks.services),
        dns_service_ip=str(settings.dns.service_ip),
        domain=settings.dns.domain,
        node_version=runtime.version,
        prepared=list(runtime.ready.values()),
        kubernetes=settings.kubernetes,
        agent_labels=hosts.agent_labels,
        api_address=hosts.api_address,
    ),
)

agents = MesosAgents(
    "mesos-agent",
    MesosAgentsArgs(
        hosts=hosts.agents,
        masters=hosts.control,
        zookeeper_url=masters.found_at,
        versions=versions,
        ports=settings.mesos.agent_ports,
        prepared=runtime.ready,
        serving=masters.serving,
        control=hosts.control[0],
        control_plane=control_plane.api_server,
        gone=hosts.gone,
    ),
)

sharing = MesosSharing(
    "mesos-sharing",
    MesosSharingArgs(
        hosts=hosts.control,
        roles=role_shares(settings.mesos.roles),
        after=[*masters.serving, *agents.registered],
    ),
)
shared = [*masters.serving, *sharing.applied]
for wanted in settings.frameworks:
    args = framework_args(wanted, hosts.control, masters.found_at, after=shared)
    MesosFramework(f"framework-{wanted.name}", args)

cluster = Cluster(
    "cluster",
    ClusterArgs(
        kubeconfig=control_plane.kubeconfig,
        identifier=identity,
        ends_with=control_plane.api_server,
        runs_pods=[*control_plane.runs_pods, *agents.registered],
    ),
)
dns = KubeDns(
    "kube-dns",
    KubeDnsArgs(
        cluster=cluster,
        service_ip=str(settings.dns.service_ip),
        domain=settings.dns.domain,
        kube_master_url=f"https://{settings.networks.kubernetes_service}",
        etcd_image=settings.images.etcd,
        skydns_image=settings.images.skydns,
        kube2sky_image=settings.images.kube2sky,
        replicas=settings.dns.replicas,
    ),
)
smoke = SmokeTest(
    "smoke-test",
    SmokeTestArgs(
        cluster=cluster,
        control=hosts.control[0],
        image=settings.images.busybox,
        dns_service_ip=str(settings.dns.service_ip),
        service_address=settings.networks.kubernetes_service,
        after=[dns.controller],
    ),
)

pulumi.export("nodes", [host.name for host in hosts.agents])
pulumi.export("mesos_url", masters.url)
pulumi.export("status_url", control_plane.status_url)
pulumi.export("kubeconfig", pulumi.Output.secret(control_plane.kubeconfig))
pulumi.export("smoke_test", smoke.answer)


async def begin() -> None:
    """Let all registrations begin before Pulumi looks at what it has to wait for.

    It then waits for them one by one. Where none has begun, it looks at all that has no value yet
    again and again, each time something gets one: with 100 machines, a second of a processor.
    """
    await asyncio.sleep(0)


pulumi.run(begin)
