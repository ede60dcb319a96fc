"""One call of a function: read, routed, and carried through one worker, as a request to a hook is."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, final

import structlog

from executor.catalog.routing import Match
from executor.errors import ExecutorError
from executor.gateway.ids import new_invocation_id
from executor.hooks import BoundHook
from executor.http.answers import plain
from executor.http.asgi import Receive, Send
from executor.reverse.budget import ByteBudget, Hold
from executor.serverless.answers import refuse, send_lines
from executor.serverless.bodies import read_body
from executor.serverless.call import ACTION, FunctionCall, read_call
from executor.serverless.endpoint import build_invoke, routing_text
from executor.serverless.errors import BadCallError
from executor.serverless.events import EventWriter
from executor.serverless.functions import Function
from executor.serverless.host import FunctionHost
from executor.serverless.raw_request import RawRequest, RawRequestLimits, read_raw_request
from executor.serverless.session_client import SessionClient
from protocol.messages import Invoke

__all__ = ["Invoking", "RunSession"]

log = structlog.get_logger("executor.serverless")

T = TypeVar("T")

LARGE: Final = 128 * 1024
"""Bytes of a call from which on it is read in a thread, so that the event loop does not wait for it."""

SESSIONS: Final = 10_000
"""Sessions that are remembered, so that none is served twice."""

RunSession = Callable[[Invoke, str, BoundHook, SessionClient, str], Awaitable[None]]
"""Runs one invocation to its end: what the worker is told, the declared path, the hook, the client, the session."""


@final
class Invoking:
    """Calls functions.

    Args:
        host: The functions.
        run: Runs an invocation.
        request_size: Largest call, in bytes.
        limits: Of the head of the request for an endpoint.
        idle_time_s: Longest pause within a call, in seconds.
        memory: Bounds the calls that are held.
        queue_time_s: Longest wait for that, in seconds.

    Attributes:
        debug: Whether errors show the endpoint's exceptions.
    """

    def __init__(
        self,
        host: FunctionHost,
        run: RunSession,
        *,
        request_size: int,
        limits: RawRequestLimits,
        idle_time_s: float,
        memory: ByteBudget,
        queue_time_s: float,
    ) -> None:
        self.debug = False
        self._host = host
        self._run = run
        self._request_size = request_size
        self._limits = limits
        self._idle_time_s = idle_time_s
        self._memory = memory
        self._queue_time_s = queue_time_s
        self._sessions: OrderedDict[str, None] = OrderedDict()

    async def serve(self, function: Function, receive: Receive, send: Send) -> None:
        """Serve one call.

        Raises:
            ClientGoneError: The daemon has gone before it had sent the call.
        """
        try:
            async with asyncio.timeout(self._queue_time_s):
                hold = await self._memory.take(self._request_size)
        except TimeoutError:
            await refuse(send, 503, "queue.full", "too many calls are held already (serverless.memory)")
            return
        try:
            await self._serve(function, hold, receive, send)
        finally:
            hold.release()

    async def _serve(self, function: Function, hold: Hold, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, self._request_size, self._idle_time_s)
            hold.shrink(len(body))
            call = await _in_thread_if_large(body, read_call, bytes(body))
        except BadCallError as error:
            await refuse(send, error.status, "BadCall", error.message)
            return
        del body
        events = EventWriter(call.session_id)
        if call.action != ACTION:
            text = f"endpoints are all that is served here, and not the action {call.action[:80]!r}"
            await send_lines(send, events.error("ActionNotSupported", text), events.end())
            return
        try:
            request = await _in_thread_if_large(call.raw, read_raw_request, call.raw, self._limits)
            hook = await self._host.obtain(function)
        except BadCallError as error:
            await send_lines(send, *_answer(events, error.status, error.message))
            return
        except ExecutorError as error:
            log.error("serverless.function_failed", function=function.name, problem=str(error))
            await send_lines(send, events.error("FunctionError", str(error)), events.end())
            return
        await self._route(call, request, hook, events, receive=receive, send=send)

    async def _route(
        self,
        call: FunctionCall,
        request: RawRequest,
        hook: BoundHook,
        events: EventWriter,
        *,
        receive: Receive,
        send: Send,
    ) -> None:
        match = hook.router.match(request.method, request.path)
        if not isinstance(match, Match):
            await send_lines(send, *_answer(events, 404, routing_text(request, match)))
            return
        invocation_id = new_invocation_id()
        try:
            invoke = build_invoke(request, call, match, hook, invocation_id=invocation_id, debug=self.debug)
        except BadCallError as error:
            await send_lines(send, *_answer(events, error.status, error.message))
            return
        if not self._is_new(call.session_id):
            await refuse(send, 409, "SessionRepeated", "this session was served already; a request is not run twice")
            return
        client = SessionClient(receive, send, events, body=request.body, invocation_id=invocation_id, debug=self.debug)
        await self._run(invoke, match.endpoint.path, hook, client, call.session_id)
        await client.conclude()

    def _is_new(self, session_id: str) -> bool:
        """Remember a session. The daemon calls again when a connection breaks, though the endpoint may have run."""
        if session_id in self._sessions:
            return False
        self._sessions[session_id] = None
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return True


def _answer(events: EventWriter, status: int, text: str) -> tuple[bytes, bytes, bytes]:
    """Write an answer of ours for whoever called the endpoint."""
    answer = plain(status, text)
    return events.head(answer.status, answer.headers), events.body(answer.body), events.end()


async def _in_thread_if_large(data: bytes | bytearray, step: Callable[..., T], *arguments: object) -> T:
    if len(data) <= LARGE:
        return step(*arguments)
    return await asyncio.to_thread(step, *arguments)
