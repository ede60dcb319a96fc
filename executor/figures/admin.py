"""The admin listener: metrics, health and live workers, for the operator and the operator's tools.

An ASGI application whose addresses are read-only, but for one: `POST /refresh` has the service read the store again,
and answers when what it says is in force. There is no authentication, and therefore it listens on loopback unless
configured otherwise; see `executor.figures.hosts` for what keeps web pages out. A page can have a browser send a POST
without seeing the answer; browsers then say the page's origin, and so that is refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from executor.figures.hosts import host_allowed
from executor.figures.live import Snapshot
from executor.figures.processes import describe_workers
from executor.figures.registry import Registry
from executor.http.answers import Answer, problem, send_answer
from executor.http.asgi import Receive, Scope, Send
from executor.installed.watch import Applied

__all__ = ["AdminApp", "create_admin_app"]

COMMON_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
METHODS: Final = ("GET", "HEAD")
REFRESH: Final = "/refresh"


class AdminApp:
    """The application; make it with `create_admin_app`."""

    def __init__(
        self,
        registry: Registry,
        snapshot: Callable[[], Snapshot],
        allowed_hosts: frozenset[str],
        refresh: Callable[[], Awaitable[Applied]] | None = None,
    ) -> None:
        self._registry = registry
        self._refresh_store = refresh
        self._snapshot = snapshot
        self._allowed_hosts = allowed_hosts
        self._routes: dict[str, Callable[[dict[str, str]], Awaitable[Answer]]] = {
            "/": self._index,
            "/healthz": self._healthz,
            "/metrics": self._metrics,
            "/readyz": self._readyz,
            "/stats": self._stats,
            "/workers": self._workers,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of ASGI."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await send_answer(send, await self._answer(scope), COMMON_HEADERS, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope) -> Answer:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if not host_allowed((value for name, value in headers if name == "host"), self._allowed_hosts):
            return problem(
                403,
                "admin.host",
                "The admin listener is not served under this name",
                detail="address it as localhost or by its IP address, or add the name to admin.allowed_hosts",
            )
        if scope["path"] == REFRESH and self._refresh_store is not None:
            return await self._refresh(scope["method"], dict(headers))
        route = self._routes.get(scope["path"])
        if route is None:
            return problem(404, "admin.not_found", "No such address", detail=f"there are {', '.join(self._routes)}")
        if scope["method"] not in METHODS:
            answer = problem(405, "admin.method", "The admin listener only answers GET and HEAD")
            answer.headers.append((b"allow", ", ".join(METHODS).encode()))
            return answer
        return await route(dict(headers))

    async def _index(self, _: dict[str, str]) -> Answer:
        return _text(200, "".join(f"{path}\n" for path in self._routes if path != "/"))

    async def _healthz(self, _: dict[str, str]) -> Answer:
        return _text(200, "ok\n")

    async def _readyz(self, _: dict[str, str]) -> Answer:
        snapshot = self._snapshot()
        content = {"ready": snapshot.ready, "draining": snapshot.draining, "reasons": list(snapshot.reasons)}
        return _json(200 if snapshot.ready else 503, content)

    async def _metrics(self, headers: dict[str, str]) -> Answer:
        self._registry.observe_service(self._snapshot())
        body, kind = await asyncio.to_thread(self._registry.render_metrics, headers.get("accept", ""))
        return Answer(200, body, [(b"content-type", kind.encode())])

    async def _stats(self, _: dict[str, str]) -> Answer:
        return _json(200, await asyncio.to_thread(self._registry.statistics))

    async def _workers(self, _: dict[str, str]) -> Answer:
        snapshot = self._snapshot()
        workers = await asyncio.to_thread(describe_workers, snapshot.workers)
        return _json(200, {"workers": workers, "queued": snapshot.queued, "draining": snapshot.draining})

    async def _refresh(self, method: str, headers: dict[str, str]) -> Answer:
        if method != "POST":
            answer = problem(405, "admin.method", "This address only answers POST")
            answer.headers.append((b"allow", b"POST"))
            return answer
        if "origin" in headers:
            return problem(403, "admin.origin", "Web pages may not ask for this")
        if self._snapshot().draining or self._refresh_store is None:
            return problem(503, "shutdown", "The service is draining")
        try:
            applied = await self._refresh_store()
        except asyncio.CancelledError:
            return problem(503, "shutdown", "The service is draining")
        content = {
            "generation": applied.generation,
            "failed": dict(applied.failed),
            "problem": applied.problem,
            "folders": sorted(applied.folders),
        }
        return _json(200, content)


def create_admin_app(
    registry: Registry,
    snapshot: Callable[[], Snapshot],
    allowed_hosts: Iterable[str] = (),
    *,
    refresh: Callable[[], Awaitable[Applied]] | None = None,
) -> AdminApp:
    """Make the ASGI application of the admin listener.

    Args:
        registry: What finished invocations were recorded in.
        snapshot: Tells what runs at this moment; called on the event loop, must not block.
        allowed_hosts: Names under which it may be addressed, besides `localhost` and IP addresses.
        refresh: Has the store read again, and tells what is in force then; without, nobody can ask for it.
    """
    return AdminApp(registry, snapshot, frozenset(name.lower() for name in allowed_hosts), refresh)


async def _live(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


def _text(status: int, text: str) -> Answer:
    return Answer(status, text.encode(), [(b"content-type", b"text/plain; charset=utf-8")])


def _json(status: int, content: object) -> Answer:
    return Answer(status, json.dumps(content).encode() + b"\n", [(b"content-type", b"application/json")])
