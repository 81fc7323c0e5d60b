"""A small asyncio client of the Kubernetes API: discovery and generic operations on objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lab.plugins.kubernetes.kubeconfig import Target, credentials, tls_context

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

RETRIES = 4
"""Further tries of a call that found nobody or was told to come back; a restart takes 3 s."""

BUSY = (429, 502, 503)


class ApiError(Exception):
    """The API server refused a call."""

    def __init__(self, status: int, answer: Object) -> None:
        super().__init__(answer.get("message") or str(answer))
        self.status = status
        self.reason: str = answer.get("reason") or ""
        self.causes: list[dict[str, str]] = (answer.get("details") or {}).get("causes") or []


class UnreachableError(Exception):
    """No answer from the API server."""


class NoKindError(Exception):
    """The server does not know this kind (yet)."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """How the server names a kind in its paths."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "") -> str:
        scope = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.prefix}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Client:
    def __init__(
        self, target: Target, namespace: str, warn: Callable[[str], Awaitable[None]]
    ) -> None:
        self.target = target
        self.server = str(target.cluster["server"]).rstrip("/")
        self.namespace = namespace
        self.warn = warn
        self.session: Any = None
        self.kinds: dict[tuple[str, str], Resource] = {}
        self.gone = False

    async def open(self) -> Any:
        """The HTTP session. aiohttp takes 0.3 s to import: not before it is needed."""
        if self.session is None:
            import aiohttp  # noqa: PLC0415

            context = tls_context(self.target) if self.server.startswith("https") else False
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=32),
                headers=await credentials(self.target),
                timeout=aiohttp.ClientTimeout(total=120, sock_connect=15),
            )
        return self.session

    async def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One call; `query` may hold `content_type`. Raises ApiError or UnreachableError."""
        pause = 0.2
        for attempt in range(RETRIES + 1):
            last = self.gone or attempt == RETRIES
            try:
                answer = await self.attempt(method, path, body, **query)
            except UnreachableError:
                if last:  # asked in vain: the calls after this one need not be as patient
                    self.gone = True
                    raise
            except ApiError as error:
                if last or error.status not in BUSY:
                    raise
            else:
                self.gone = False
                return answer
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def attempt(
        self,
        method: str,
        path: str,
        body: Any,
        content_type: str = "application/json",
        **query: Any,
    ) -> Any:
        import aiohttp  # noqa: PLC0415

        session = await self.open()
        try:
            async with session.request(
                method,
                self.server + path,
                data=None if body is None else json.dumps(body),
                params={key: str(value) for key, value in query.items() if value is not None},
                headers={"Content-Type": content_type},
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnreachableError(f"{self.server}: {error or type(error).__name__}") from None
        for warning in response.headers.getall("Warning", []):
            await self.warn(warning.split('"')[1] if '"' in warning else warning)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text.strip()}
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return answer

    async def resource(self, api_version: str, kind: str) -> Resource:
        """Find a kind in the server's discovery. Raises NoKindError."""
        if (api_version, kind) not in self.kinds:
            prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            try:
                found = (await self.request("GET", prefix))["resources"]
            except ApiError as error:
                if error.status != 404:
                    raise
                found = []
            for item in found:
                if "/" not in item["name"]:
                    self.kinds[api_version, item["kind"]] = Resource(
                        prefix=prefix, plural=item["name"], namespaced=item["namespaced"]
                    )
        if (api_version, kind) not in self.kinds:
            raise NoKindError(f'no matches for kind "{kind}" in version "{api_version}"')
        return self.kinds[api_version, kind]

    async def get(
        self, api_version: str, kind: str, namespace: str | None, name: str
    ) -> Object | None:
        """The object, or None."""
        resource = await self.resource(api_version, kind)
        try:
            found: Object = await self.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def apply(
        self, thing: Object, manager: str, *, force: bool = False, dry_run: bool = False
    ) -> Object:
        """Server-side apply."""
        resource = await self.resource(thing["apiVersion"], thing["kind"])
        metadata = thing["metadata"]
        path = resource.path(metadata.get("namespace") or self.namespace, metadata["name"])
        applied: Object = await self.request(
            "PATCH",
            path,
            thing,
            content_type="application/apply-patch+yaml",
            fieldManager=manager,
            force=str(force).lower(),
            dryRun="All" if dry_run else None,
        )
        return applied

    async def delete(
        self, api_version: str, kind: str, namespace: str | None, name: str, propagation: str
    ) -> None:
        resource = await self.resource(api_version, kind)
        body = {"propagationPolicy": propagation}
        await self.request("DELETE", resource.path(namespace, name), body)

    async def list(
        self, api_version: str, kind: str, namespace: str | None, **query: Any
    ) -> list[Object]:
        resource = await self.resource(api_version, kind)
        found = await self.request("GET", resource.path(namespace), **query)
        items: list[Object] = found["items"]
        return items

    async def close(self) -> None:
        if self.session:
            await self.session.close()
