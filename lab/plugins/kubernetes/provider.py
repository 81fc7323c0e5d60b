"""The kubernetes provider: objects of any kind, made and kept by server-side apply.

A stand-in for pulumi-kubernetes 4.32.0. It serves the resource classes of pulumi_kubernetes, not
its *Patch and *List classes, Helm, Kustomize and yaml/v2. Where it differs, it is quicker: no fixed
10 s for a Service with a selector, and no wait for a ReplicationController with no replicas.
"""

from __future__ import annotations

import asyncio
import re
import secrets

import yaml

from lab.plugins.kubernetes.awaiting import look, until_gone, until_ready
from lab.plugins.kubernetes.client import ApiError, Client, NoKindError, Object, UnreachableError
from lab.plugins.kubernetes.kubeconfig import KubeconfigError, load_kubeconfig
from lab.plugins.kubernetes.objects import (
    annotation,
    body,
    identifier,
    inputs_of,
    kind_of,
    outputs,
    place,
    replaces,
)
from lab.plugins.kubernetes.plan import existing, plan_create, plan_update
from lab.plugins.kubernetes.refusals import refusal, unreachable
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.provider import Diff, Failures, Provider, ProviderError, Request
from lab.plugins.values import UNKNOWN, Properties, compare, has_unknown

MANAGER = "pulumi-kubernetes"
UNSUPPORTED = re.compile(r"^kubernetes:(helm\.sh|kustomize|yaml)/|(Patch|List)$")
CREATE_TRIES = 5
"""A namespace or a custom definition that another step is making may come a moment later."""


class Kubernetes(Provider):
    version = "4.32.0"

    def __init__(self, engine_address: str) -> None:
        super().__init__(engine_address)
        self.settings = Settings({})
        self.client: Client | None = None
        self.problem = "the provider's kubeconfig is not known yet"

    # The provider itself.

    async def check_config(self, request: Request) -> tuple[Properties, Failures]:
        return request.inputs, Settings(request.inputs).refused()

    async def diff_config(self, request: Request) -> Diff:
        """Another cluster replaces all that is in it; `clusterIdentifier` says what is another."""
        old, new = request.old_inputs, request.inputs
        diff = Diff(changed=compare(old, new))
        if "clusterIdentifier" in old and "clusterIdentifier" in new:
            moved = old["clusterIdentifier"] != new["clusterIdentifier"]
        else:
            moved = cluster_of(old) != cluster_of(new)
        if moved:
            diff.replace = list(diff.changed)
        return diff

    async def configure(self, config: Properties) -> None:
        self.settings = Settings(config)
        if has_unknown(config):
            return
        text = self.settings.text
        try:
            target = load_kubeconfig(text("kubeconfig"), text("context"), text("cluster"))
        except KubeconfigError as error:
            self.problem = f"the provider's kubeconfig cannot be used: {error}"
            return

        async def warn(line: str) -> None:
            if not self.settings.enabled("suppressDeprecationWarnings"):
                await self.log(line)

        self.client = Client(target, text("namespace") or target.namespace, warn)

    async def close(self) -> None:
        if self.client:
            await self.client.close()

    def connected(self) -> Client:
        if self.client is None:
            raise ProviderError(self.problem)
        return self.client

    # Check and diff.

    async def check(self, request: Request) -> tuple[Properties, Failures]:
        """Name what has no name; keep the name it got before."""
        inputs, old = request.inputs, request.state
        if UNSUPPORTED.search(request.type):
            stand_in = "by the stand-in of this machine (lab/plugins)"
            return inputs, [("", f"{request.type} is not supported {stand_in}")]
        metadata = inputs.setdefault("metadata", {})
        if metadata == UNKNOWN or "name" in metadata or "generateName" in metadata:
            return inputs, []
        kept = annotation(old, "autonamed") and old["metadata"].get("name")
        metadata["name"] = kept or f"{request.name}-{secrets.token_hex(4)}"
        if metadata.setdefault("annotations", {}) != UNKNOWN:
            metadata["annotations"]["pulumi.com/autonamed"] = "true"
        return inputs, []

    async def diff(self, request: Request) -> Diff:
        inputs = request.inputs
        diff = Diff(changed=compare(request.old_inputs, inputs))
        moved = self.moved(request.id, inputs["metadata"])
        for path in diff.changed:
            renamed = moved and path in ("metadata.name", "metadata.namespace")
            immutable = replaces(inputs["kind"], path, self.settings.mutable())
            if path == "kind" or renamed or immutable:
                diff.replace.append(path)
        same_name = not moved and not annotation(inputs, "autonamed")
        diff.delete_first = bool(diff.replace) and same_name
        return diff

    def moved(self, resource_id: str, metadata: Properties | str) -> bool:
        """Whether the new inputs mean another object than the one with this id."""
        if isinstance(metadata, str):  # unknown yet
            return False
        namespace, name = place(resource_id)
        default = self.client.namespace if self.client else namespace
        elsewhere = bool(namespace and (metadata.get("namespace") or default) != namespace)
        return bool(metadata["name"] != name or elsewhere)

    # Objects.

    async def apply(self, inputs: Properties, *, dry_run: bool = False) -> Object:
        force = self.settings.enabled("enablePatchForce")
        force = force or annotation(inputs, "patchForce") == "true"
        client = self.connected()
        return outputs(await client.apply(body(inputs), MANAGER, force=force, dry_run=dry_run))

    async def planned(self, inputs: Properties) -> Object:
        return await self.apply(inputs, dry_run=True)

    async def create(self, request: Request) -> tuple[str, Properties]:
        if request.preview:
            return "", await plan_create(self.client, request, self.planned)
        live = await self.made(request)
        return identifier(live), await until_ready(self.connected(), request, live)

    async def made(self, request: Request) -> Object:
        inputs, client = request.inputs, self.connected()
        for attempt in range(CREATE_TRIES):
            try:
                if not self.settings.enabled("upsertExistingObjects"):
                    await self.refuse_existing(client, inputs)
                return await self.apply(inputs)
            except (ApiError, NoKindError) as error:
                to_come = isinstance(error, NoKindError) or error.status == 404
                if not to_come or attempt == CREATE_TRIES - 1:
                    raise refusal(inputs, "created", error) from None
                await request.status(f"retrying: {error}")
                await asyncio.sleep(1 + attempt)
            except UnreachableError as error:
                raise refusal(inputs, "created", error) from None
        raise AssertionError("the last try returns or raises")

    async def refuse_existing(self, client: Client, inputs: Properties) -> None:
        if await existing(client, inputs):
            what = f"{inputs['kind']} {identifier(inputs)} already exists"
            raise ProviderError(
                f"{what}; take it over with the resource option import_, or delete it"
            )

    async def update(self, request: Request) -> Properties:
        if request.preview:
            return await plan_update(self.client, request, self.planned)
        try:
            live = await self.apply(request.inputs)
        except UnreachableError as error:
            if not self.settings.enabled("skipUpdateUnreachable"):
                raise refusal(request.inputs, "updated", error) from None
            await request.warn(f"not updated: {error}")
            return request.state
        except (ApiError, NoKindError) as error:
            raise refusal(request.inputs, "updated", error) from None
        return await until_ready(self.connected(), request, live)

    async def read(self, request: Request) -> tuple[str, Properties, Properties]:
        shape = request.inputs
        thing = {**kind_of(request.type), **request.state, **shape}
        try:
            live = await look(self.connected(), request.id, thing)
        except NoKindError:
            live = None
        except UnreachableError as error:
            if self.settings.enabled("deleteUnreachable"):
                return "", {}, {}
            raise unreachable(f"{thing['kind']} {request.id} could not be read", error) from None
        if live is None:
            return "", {}, {}
        live = outputs(live)
        return identifier(live), live, inputs_of(live, shape)

    async def delete(self, request: Request) -> None:
        state = request.state
        namespace, name = place(request.id)
        propagation = (annotation(state, "deletionPropagationPolicy") or "foreground").capitalize()
        client, what = self.connected(), f"{state['kind']} {request.id} could not be deleted"
        try:
            await client.delete(state["apiVersion"], state["kind"], namespace, name, propagation)
            await until_gone(client, request)
        except NoKindError:
            return
        except ApiError as error:
            if error.status != 404:
                raise ProviderError(f"{what}: {error}") from None
        except UnreachableError as error:
            if not self.settings.enabled("deleteUnreachable"):
                raise unreachable(what, error) from None
            await request.warn(f"taken for deleted with its cluster, which is unreachable: {error}")

    async def invoke(self, token: str, arguments: Properties) -> Properties:
        if token != "kubernetes:yaml:decode":  # noqa: S105
            return await super().invoke(token, arguments)
        found: list[Properties] = []
        for item in yaml.safe_load_all(arguments["text"]):
            if item:
                is_list = str(item.get("kind", "")).endswith("List")
                found += item.get("items", []) if is_list else [item]
        return {"result": found}


def cluster_of(config: Properties) -> Properties | None:
    """The cluster that a provider's inputs mean, or None while they cannot say."""
    if has_unknown(config):
        return None
    names = (config.get(name) for name in ("kubeconfig", "context", "cluster"))
    try:
        return load_kubeconfig(*names).cluster
    except KubeconfigError:
        return None
