"""A thin client of the Kubernetes API: paths in, JSON out.

Why not lightkube: since 1.0 it needs msgspec (compiled) and Python 3.11, so it cannot travel in a
zipapp to hosts with Python 3.10; objects are plain dictionaries here, cut down as they arrive.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import httpx

from km.cluster.errors import ClusterError, UnreachableError, error_of
from km.cluster.kubeconfig import Access

Item = TypeVar("Item")

PAGE = 500
"""Objects in one page of a list; what kubectl asks for."""

KEEPALIVE: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # A server whose machine lost power says nothing: found dead after 10 + 3 * 5 seconds.
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]

WATCH_SECONDS = 300
"""How long the server keeps one watch open; then it is simply opened again."""

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


class Cluster:
    """One connection pool to the API servers. `transport` replaces the network in tests."""

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = 15.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._access = access
        self._turn = 0
        self._timeout = timeout
        if transport is None:
            transport = httpx.AsyncHTTPTransport(
                verify=access.ssl_context(),
                limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
                socket_options=KEEPALIVE,
            )
        self._http = httpx.AsyncClient(
            transport=transport, timeout=timeout, trust_env=False, headers={"User-Agent": "km"}
        )

    @property
    def server(self) -> str:
        """Base URL of the API server that is asked at the moment."""
        return self._url("")

    async def get(self, path: str, *, patience: float | None = None) -> dict[str, Any]:
        """Read one object. Raises NotFoundError, UnreachableError, ApiError.

        `patience`, here and below: seconds of silence after which the next request goes to another
        server, if there are several, for those who can not wait as long as usual. A single server
        that is merely slow is not hurried.
        """
        return await self._send("GET", path, patience=patience)

    async def create(
        self, path: str, body: Mapping[str, Any], *, patience: float | None = None
    ) -> dict[str, Any]:
        """POST to a collection (or a subresource such as `…/binding`)."""
        return await self._send("POST", path, body=body, patience=patience)

    async def replace(
        self, path: str, body: Mapping[str, Any], *, patience: float | None = None
    ) -> dict[str, Any]:
        """PUT; raises ConflictError when `metadata.resourceVersion` is no longer the newest."""
        return await self._send("PUT", path, body=body, patience=patience)

    async def patch(self, path: str, body: object, *, kind: str = "merge") -> dict[str, Any]:
        """PATCH with a merge, strategic or json patch."""
        return await self._send("PATCH", path, body=body, content_type=PATCH_TYPES[kind])

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """DELETE, with DeleteOptions if any (preconditions, grace period)."""
        return await self._send("DELETE", path, body=body)

    async def list(
        self, path: str, keep: Callable[[dict[str, Any]], Item], **params: str
    ) -> tuple[list[Item], str]:
        """Read a whole collection page by page; `keep` cuts each object down as it arrives.

        Returns:
            The objects and the resource version from which to watch.
        """
        items: list[Item] = []
        query = {**params, "limit": str(PAGE)}
        while True:
            page = await self._send("GET", path, params=query)
            items += [keep(item) for item in page.get("items") or []]
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                return items, metadata.get("resourceVersion", "")
            query["continue"] = metadata["continue"]

    async def watch(
        self, path: str, version: str, **params: str
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield `(ADDED | MODIFIED | DELETED | BOOKMARK, object)` after `version`.

        Ends when the server has had enough, which is normal. Raises GoneError when `version` is too
        old, UnreachableError when the connection breaks.
        """
        query = {
            **params,
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = httpx.Timeout(15.0, read=WATCH_SECONDS + 30.0)
        what = f"watch {path}"
        try:
            async with self._http.stream(
                "GET", self._url(path), params=query, headers=self._headers(), timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise error_of(what, response.status_code, decoded(await response.aread()))
                async for line in lines(response):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise error_of(what, int(status.get("code", 500)), status)
                    yield event["type"], event["object"]
        except httpx.TransportError as error:
            raise self._unreachable(what, error) from error
        except ValueError as error:
            raise UnreachableError(f"{what}: what came is not JSON: {error}") from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        patience: float | None = None,
    ) -> dict[str, Any]:
        headers = self._headers()
        content = None
        if body is not None:
            headers["Content-Type"] = content_type
            content = json.dumps(body, separators=(",", ":"))
        what = f"{method} {path}"
        try:
            response = await self._http.request(
                method,
                self._url(path),
                content=content,
                params=params,
                headers=headers,
                timeout=patience if patience and len(self._access.servers) > 1 else self._timeout,
            )
        except httpx.TransportError as error:
            raise self._unreachable(what, error) from error
        answer = decoded(response.content)
        if not response.is_success:
            raise error_of(what, response.status_code, answer)
        return answer if isinstance(answer, dict) else {}

    def _url(self, path: str) -> str:
        return self._access.servers[self._turn % len(self._access.servers)] + path

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        token = self._access.token
        if self._access.token_file is not None:
            token = self._access.token_file.read_text().strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _unreachable(self, what: str, error: Exception) -> ClusterError:
        server = self._url("")
        self._turn += 1  # the next request goes to the next server
        return UnreachableError(f"{what}: {server}: {str(error) or type(error).__name__}")

    async def close(self) -> None:
        await self._http.aclose()


async def lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Split a stream at newlines; httpx's own `aiter_lines` decodes text first, which costs."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line


def decoded(content: bytes) -> Any:
    """JSON if it is JSON, else the text."""
    try:
        return json.loads(content) if content else {}
    except ValueError:
        return content.decode(errors="replace").strip()
