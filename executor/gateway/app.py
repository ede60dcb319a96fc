"""The public ASGI application: `/e/<hook_id>/<path>`, one invocation per request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from executor.catalog.routing import Match, MethodNotAllowed, NotFound, Redirect, dify_text
from executor.gateway.client import CLOSE, ASGIClient
from executor.gateway.cors import CorsPolicy
from executor.gateway.headers import expects_continue, request_headers
from executor.gateway.ids import new_invocation_id
from executor.gateway.origin import Network, Origin, find_origin
from executor.hooks import BoundHook
from executor.http.answers import Answer, plain, problem, problem_for, send_answer
from executor.http.asgi import Receive, Scope, Send
from executor.http.paths import quote_path
from executor.outcome import Outcome
from protocol.limits import MAX_ID
from protocol.messages import Invoke

__all__ = ["Gateway", "GatewayState", "RunInvocation"]

PREFIX: Final = "/e/"

RunInvocation = Callable[[Invoke, str, BoundHook, ASGIClient], Awaitable[None]]
"""Runs one invocation to its end: what the worker is told, the declared path, the hook, the client."""


@dataclass(slots=True)
class GatewayState:
    """What the gateway serves; a reload replaces it as a whole.

    Attributes:
        hooks: By id.
        failed: Ids of hooks that should be served and cannot be.
        cors: What browsers may do.
        trusted_proxies: Networks whose forwarding headers count.
        debug: Whether problem documents show internals.
        dify_routing: Whether routing failures are answered as the reference does.
    """

    hooks: Mapping[str, BoundHook] = field(default_factory=dict)
    failed: Collection[str] = ()
    cors: CorsPolicy = field(default_factory=lambda: CorsPolicy(None))
    trusted_proxies: Sequence[Network] = ()
    debug: bool = False
    dify_routing: bool = False


class Gateway:
    """The ASGI application.

    Args:
        run: Runs an invocation.

    Attributes:
        state: What is served.
        draining: Set when the service takes no new work.
    """

    def __init__(self, run: RunInvocation) -> None:
        self.state = GatewayState()
        self.draining = False
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        state = self.state
        found = self._find(state, scope)
        if isinstance(found, Answer):
            extra = [*state.cors.response_headers(scope), *(CLOSE if expects_continue(scope["headers"]) else ())]
            await send_answer(send, found, extra, head=scope["method"] == "HEAD")
            return
        hook, path, match = found
        invocation_id = new_invocation_id()
        origin = find_origin(scope, state.trusted_proxies)
        client = ASGIClient(
            scope,
            receive,
            send,
            extra_headers=[(b"x-invocation-id", invocation_id.encode()), *state.cors.response_headers(scope)],
            invocation_id=invocation_id,
            debug=state.debug,
        )
        invoke = _build_invoke(scope, hook, path, match, origin, invocation_id=invocation_id, debug=state.debug)
        await self._run(invoke, match.endpoint.path, hook, client)

    def _find(self, state: GatewayState, scope: Scope) -> tuple[BoundHook, str, Match] | Answer:
        """Find the endpoint that is asked for, or the answer when there is none."""
        path: str = scope["path"]
        if self.draining:
            answer = problem_for(Outcome.SHUTDOWN)
            answer.headers.extend(CLOSE)
            return answer
        if not path.startswith(PREFIX):
            return problem(404, "route.not_found", "Nothing is served here", detail="Hooks are at /e/<hook_id>/<path>.")
        hook_id, slash, rest = path[len(PREFIX) :].partition("/")
        hook = state.hooks.get(hook_id)
        if hook is None and hook_id in state.failed:
            return problem(503, "hook.failed", "The hook cannot be served", detail="The executor's log says why.")
        if hook is None or not hook.enabled:
            return problem(404, "hook.not_found", "There is no such hook")
        if not slash:
            return _redirect(scope, f"{PREFIX}{hook_id}/", dify=state.dify_routing)
        match = hook.router.match(scope["method"], "/" + rest)
        if isinstance(match, Match):
            return hook, "/" + rest, match
        return _routing_failure(state, scope, hook_id, match)


def _routing_failure(
    state: GatewayState, scope: Scope, hook_id: str, failure: NotFound | MethodNotAllowed | Redirect
) -> Answer:
    """Answer a request that no endpoint of the hook serves."""
    if isinstance(failure, MethodNotAllowed):
        preflight = state.cors.preflight(scope, failure.allow)
        if preflight is not None:
            return preflight
    if state.dify_routing:
        return plain(404, dify_text(failure, failure.path if isinstance(failure, Redirect) else ""))
    if isinstance(failure, Redirect):
        return _redirect(scope, f"{PREFIX}{hook_id}{failure.path}", dify=False)
    if isinstance(failure, MethodNotAllowed):
        answer = problem(405, "route.method_not_allowed", "The endpoint does not take this method")
        answer.headers.append((b"allow", ", ".join(failure.allow).encode()))
        return answer
    return problem(404, "route.not_found", "The hook has no such endpoint")


def _redirect(scope: Scope, path: str, *, dify: bool) -> Answer:
    """Send the client to `path` with the same query; the reference uses 301 for GET and 307 otherwise."""
    location = quote_path(path).encode()
    if scope["query_string"]:
        location += b"?" + scope["query_string"]
    status = (301 if scope["method"] == "GET" else 307) if dify else 308
    return Answer(status, b"", [(b"location", location)])


def _build_invoke(
    scope: Scope, hook: BoundHook, path: str, match: Match, origin: Origin, *, invocation_id: str, debug: bool
) -> Invoke:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    length: int | None = None
    chunked = False
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            length = min(int(value), MAX_ID)  # more is over every limit, too
        elif name == b"transfer-encoding":
            chunked = True
    url_path = quote_path(f"{PREFIX}{hook.hook_id}{path}")
    return Invoke(
        invocation_id=invocation_id,
        source=match.endpoint.source,
        method=scope["method"],
        scheme=origin.scheme,
        server_name=origin.server_name,
        server_port=origin.server_port,
        root_path="",
        path=path,
        query=scope["query_string"],
        http_version=scope["http_version"],
        headers=tuple(
            request_headers(
                headers,
                origin,
                hook_id=hook.hook_id,
                hook_url=origin.hook_url or f"{origin.scheme}://{origin.host}{url_path}",
            )
        ),
        remote_addr=origin.remote_addr,
        values=match.values,
        settings=hook.settings,
        hook_id=hook.hook_id,
        content_length=length,
        has_body=chunked or bool(length),
        debug=debug,
        after_response_s=hook.worker.after_response,
    )
