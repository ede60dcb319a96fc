"""The client of an invocation, over ASGI: its body comes in, the endpoint's response goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from executor.gateway.headers import InvalidHeaderError, expects_continue, response_head
from executor.http.answers import Answer, plain, problem_for, send_answer
from executor.http.asgi import Receive, Scope, Send
from executor.outcome import Outcome
from executor.supervisor.client import ClientGoneError, InvalidResponseError
from executor.supervisor.verdict import Verdict

__all__ = ["CLOSE", "ASGIClient"]

CLOSE: Final = ((b"connection", b"close"),)
"""Said with an answer that comes before the client was asked for the body: whether it sends it still is anybody's
guess, and so is where the next request would begin."""


class ASGIClient:
    """Implements `executor.supervisor.client.Client` for one ASGI request.

    Args:
        scope: The request's scope; `extensions["executor.cut"]`, where the server offers it, closes the connection.
        receive: As in ASGI.
        send: As in ASGI.
        extra_headers: Headers of ours in lower case, added to every response that does not say the same itself.
        invocation_id: Named in problem documents.
        debug: Whether problem documents show the endpoint's error and traceback.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        extra_headers: Sequence[tuple[bytes, bytes]],
        invocation_id: str,
        debug: bool,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._extra_headers = extra_headers
        self._invocation_id = invocation_id
        self._debug = debug
        self._unasked = expects_continue(scope["headers"])
        self._body_ended = False
        self._missing: int | None = None
        self._complete = False

    async def receive(self) -> bytes | None:
        """Return the next piece of the request body, `None` after the last."""
        self._unasked = False
        while not self._body_ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                await self._gone_or_served()
                raise ClientGoneError
            self._body_ended = not message.get("more_body", False)
            body: bytes = message.get("body", b"")
            if body:
                return body
        return None

    async def wait_gone(self) -> None:
        """Return when the client has gone; what it sends until then is ignored."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        await self._gone_or_served()

    async def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the head of the response."""
        try:
            head = response_head(status, headers)
        except InvalidHeaderError as error:
            raise InvalidResponseError(str(error)) from error
        if self._scope["method"] != "HEAD":
            self._missing = head.content_length
        said = {name.lower() for name, _ in head.headers}
        ours = [(name, value) for name, value in self._our_headers() if name not in said or name == b"vary"]
        await self._send({"type": "http.response.start", "status": status, "headers": [*head.headers, *ours]})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body; the last one, as of a declared length, completes the response at once."""
        if self._missing is not None:
            self._missing -= len(data)
            if self._missing < 0:
                raise InvalidResponseError("the body is longer than the response's Content-Length")
        self._complete = self._missing == 0 or (last and self._missing is None)
        await self._send({"type": "http.response.body", "body": data, "more_body": not self._complete})
        if last:
            await self.finish()

    async def finish(self) -> None:
        """End the body."""
        if self._missing:
            raise InvalidResponseError(f"the body is {self._missing} bytes shorter than the response's Content-Length")
        if not self._complete:
            self._complete = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, verdict: Verdict) -> None:
        """Send the answer that the verdict stands for."""
        answer = self._answer(verdict)
        await send_answer(self._send, answer, self._our_headers(), head=self._scope["method"] == "HEAD")

    def cut(self, *, at_once: bool) -> None:
        """Close the connection in the middle of the response.

        After a whole response there is nothing to cut: the connection belongs to the client's next request.
        """
        cut = self._scope.get("extensions", {}).get("executor.cut")
        if cut is not None and not self._complete:
            cut(at_once)

    async def _gone_or_served(self) -> None:
        """Tell "it has gone" from "it has all it asked for", which ASGI reports alike: in that case wait for ever."""
        if self._complete:
            await asyncio.get_running_loop().create_future()

    def _our_headers(self) -> list[tuple[bytes, bytes]]:
        return [*self._extra_headers, *(CLOSE if self._unasked else ())]

    def _answer(self, verdict: Verdict) -> Answer:
        if verdict.outcome is Outcome.ENDPOINT_REJECTED:
            return plain(verdict.outcome.status, verdict.detail)
        debug: dict[str, str] = {}
        if self._debug:
            debug = {"error": verdict.private_detail, "traceback": verdict.traceback}
        return problem_for(verdict.outcome, detail=verdict.detail, invocation_id=self._invocation_id, **debug)
