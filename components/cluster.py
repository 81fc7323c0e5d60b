"""The way into the cluster that was made, for whatever puts objects into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """How the cluster is reached, and what it ends with."""

    kubeconfig: pulumi.Input[str]

    identifier: str
    """Tells this cluster from all others, even when its kubeconfig changes."""

    ends_with: pulumi.Resource
    """When this goes, the cluster goes with all its objects: none is deleted by itself."""

    runs_pods: Sequence[pulumi.Resource]
    """What has to be there before a pod can run."""


class Cluster(pulumi.ComponentResource):
    """A cluster as a place for objects.

    Makes the provider ``<name>-objects``.
    """

    provider: kubernetes.Provider

    def __init__(
        self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:Cluster", name, {}, opts)

        self._args = args
        self.provider = kubernetes.Provider(
            f"{name}-objects",
            kubeconfig=args.kubeconfig,
            cluster_identifier=args.identifier,
            enable_server_side_apply=True,
            # An `up` that was killed has made objects that its state does not know. Without it the
            # next one would find them there and end; another's fields are a conflict all the same.
            upsert_existing_objects=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

    def options(
        self, parent: pulumi.Resource, *, runs_pods: bool = False
    ) -> pulumi.ResourceOptions:
        """Give the options of an object in this cluster.

        Args:
            parent: The component that the object belongs to.
            runs_pods: Whether it is only there once its pods are.
        """
        return pulumi.ResourceOptions(
            parent=parent,
            provider=self.provider,
            deleted_with=self._args.ends_with,
            depends_on=list(self._args.runs_pods) if runs_pods else [],
        )
