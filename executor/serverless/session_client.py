"""The daemon as the client of an invocation: the request's body is there already, the answer goes out as lines.

The head of our own HTTP answer is sent with the first line. Until then load can be told by a status: the daemon calls
again after 502 and broken connections, and never after another status, so none of ours is 502.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from executor.gateway.headers import InvalidHeaderError, response_head
from executor.http.answers import plain, problem_for
from executor.http.asgi import Receive, Send
from executor.outcome import Outcome
from executor.serverless.answers import refuse
from executor.serverless.events import EventWriter
from executor.supervisor.client import InvalidResponseError
from executor.supervisor.verdict import Verdict
from protocol.limits import MAX_DATA

__all__ = ["SessionClient"]

REFUSED: Final = {
    Outcome.QUEUE_HOOK: HTTPStatus.TOO_MANY_REQUESTS,
    Outcome.QUEUE_FULL: HTTPStatus.SERVICE_UNAVAILABLE,
    Outcome.SHUTDOWN: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Outcomes before anything of the endpoint has run, and the status that the daemon gets."""

ANSWERED: Final = frozenset({Outcome.ENDPOINT_REJECTED, Outcome.ENDPOINT_RAISED, Outcome.LIMIT_REQUEST_BODY})
"""Outcomes whose HTTP answer goes to whoever called the endpoint; for the others the daemon gets an error."""

BROKEN_OFF: Final = "InvocationError"


class SessionClient:
    """Implements `executor.supervisor.client.Client`.

    Args:
        receive: ASGI; whoever called has read the body.
        send: ASGI.
        events: Writes lines.
        body: Of the request for the endpoint.
        invocation_id: Named in errors.
        debug: Whether errors show the endpoint's exception and traceback.
    """

    def __init__(
        self, receive: Receive, send: Send, events: EventWriter, *, body: bytes, invocation_id: str, debug: bool
    ) -> None:
        self._receive = receive
        self._send = send
        self._events = events
        self._body = body
        self._given = 0
        self._invocation_id = invocation_id
        self._debug = debug
        self._started = False
        self._finished = False
        self._cut = False

    async def receive(self) -> bytes | None:
        """Return the next piece of the request body, `None` after the last."""
        piece = self._body[self._given : self._given + MAX_DATA]
        self._given += len(piece)
        return piece or None

    async def wait_gone(self) -> None:
        """Return when the daemon has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._finished:  # it has all it asked for
            await asyncio.get_running_loop().create_future()

    async def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the head of the response."""
        try:
            head = response_head(status, headers)
        except InvalidHeaderError as error:
            raise InvalidResponseError(str(error)) from error
        # the daemon frames the body anew
        kept = [(name, value) for name, value in head.headers if name != b"content-length"]
        await self._write(self._events.head(status, kept))

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body; waits while the daemon is slow."""
        await self._write(self._events.body(data))
        if last:
            await self._end()

    async def finish(self) -> None:
        """End the body."""
        await self._end()

    async def fail(self, verdict: Verdict) -> None:
        """Send what the verdict stands for, in place of a response."""
        outcome = verdict.outcome
        if outcome in REFUSED:
            self._finished = True
            await refuse(self._send, REFUSED[outcome], outcome.code, self._explain(verdict))
        elif outcome in ANSWERED:
            answer = plain(outcome.status, verdict.detail)
            if outcome is not Outcome.ENDPOINT_REJECTED:
                debug = {"error": verdict.private_detail, "traceback": verdict.traceback} if self._debug else {}
                answer = problem_for(outcome, detail=verdict.detail, invocation_id=self._invocation_id, **debug)
            await self._write(self._events.head(answer.status, answer.headers))
            await self._write(self._events.body(answer.body))
            await self._end()
        else:
            await self._fail(outcome.code, self._explain(verdict))

    def cut(self, *, at_once: bool) -> None:
        """Note that the response is not complete; `conclude` tells the daemon, unless it does not read."""
        self._cut = not at_once

    async def conclude(self) -> None:
        """Tell the daemon that a response was broken off; it cannot be told by a broken connection, which it hides."""
        if self._cut and not self._finished:
            await self._fail(BROKEN_OFF, f"the endpoint's answer was broken off (invocation {self._invocation_id})")

    async def _fail(self, error_type: str, message: str) -> None:
        await self._write(self._events.error(error_type, message, invocation_id=self._invocation_id))
        await self._end()

    async def _end(self) -> None:
        await self._write(self._events.end())
        self._finished = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, line: bytes) -> None:
        if not self._started:
            self._started = True
            headers = [(b"content-type", b"text/event-stream"), (b"x-invocation-id", self._invocation_id.encode())]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": line, "more_body": True})

    def _explain(self, verdict: Verdict) -> str:
        detail = verdict.private_detail if self._debug else verdict.detail
        text = verdict.outcome.title + (f": {detail}" if detail else "")
        return f"{text} (invocation {self._invocation_id})"
