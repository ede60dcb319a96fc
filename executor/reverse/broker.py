"""The reverse calls of one invocation: each is a task of its own, from the worker's CALL to the end of its answer.

Theory of operation
-------------------
`take` gets what the worker says about calls, checked by the protocol and by nothing else. What is not allowed, too
much or too large is refused at once. For the rest a task waits for a place among the calls of the invocation, then for
memory for the request; only then does the worker get credit to send what it has not sent. When all of it is there, it
is unfolded, checked and given to the target, and the items of the answer go to the worker as far as its credit reaches.

1. Nothing here raises into the worker's message loop, nor stops the response: a call fails alone.
2. Nobody produces what nobody takes: the target is not asked for the next item before the worker has taken this one.
3. The end of the invocation is the end of its calls: `close` cancels them, and waits until they are gone.
4. After the worker has said that it waits for a call no more, it still gets its end, for both sides must forget it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, final

import structlog

from executor.catalog.permissions import Permissions
from executor.config.limits import Limits
from executor.errors import number_of
from executor.reverse.budget import ByteBudget, Hold
from executor.reverse.call import CallFailedError, CallTarget, ReverseCall
from executor.reverse.requests import RULES, check_request, refuse_kind
from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.calls import CallState
from protocol.checks import clip
from protocol.errors import LocalProtocolError, ProtocolError
from protocol.limits import INITIAL_CALL_CREDIT, MAX_DATA, MAX_NODES
from protocol.values import pack_value, unpack_value

__all__ = ["CallBroker", "CallLink", "Caller", "CallerMessage", "Desk"]

log = structlog.get_logger("executor.reverse")

MOST_ERROR_BYTES: Final = 4096
"""Bytes of the text of an error: refusals cannot be waited for, so they must be small."""

EXCESS: Final = 1000
"""Calls over the limit that are refused, before the worker is taken for one that will not stop."""

REQUEST_TIME_S: Final = 30.0
"""Longest time for a request to come whole, once there is memory for it: a worker that is well sends it at once."""

LARGE: Final = 256 * 1024
"""Bytes from which on a value is unfolded in a thread, so that the event loop does not wait for it."""

CallerMessage = Call | CallData | CallCredit | CallCancel


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf calls are made; the fields of `ReverseCall`.

    Attributes:
        permissions: What the plugin's manifest declares.
    """

    tenant_id: str
    plugin_id: str
    hook_id: str
    invocation_id: str
    user_id: str
    session_id: str
    permissions: Permissions


class CallLink(Protocol):
    """The way to the worker."""

    def send(self, message: CallResult | CallCredit) -> None:
        """Send a message, now or soon; nothing once the worker is gone.

        Raises:
            LocalProtocolError: It was told to stop meanwhile.
        """

    async def wait_drained(self) -> bool:
        """Wait until the pipe has taken everything; False when the worker will read no more."""

    def find_call(self, call_id: int) -> CallState | None:
        """Return what the protocol knows of a call."""

    def break_off(self, reason: str) -> None:
        """Treat the worker as one that broke the protocol."""


class Desk(Protocol):
    """What all invocations share."""

    @property
    def memory(self) -> ByteBudget:
        """Bounds the large requests that are held."""

    @property
    def backlog(self) -> ByteBudget:
        """Bounds what has come of requests whose calls wait for a place."""

    def find_target(self, kind: str, caller: Caller) -> CallTarget:
        """Return who answers."""

    def begin(self, kind: str) -> None:
        """Count a call that begins."""

    def finish(self, kind: str, outcome: str, seconds: float) -> None:
        """Count one that has ended; `refused` ones never began."""


class _WorkerGoneError(Exception):
    """The worker reads no more."""


class _Incoming:
    """A call, as far as it has come."""

    __slots__ = ("complete", "credit", "pieces", "received", "size", "task", "waits")

    def __init__(self, size: int, waits: Hold | None) -> None:
        self.size = size
        self.waits = waits
        self.received = 0
        self.pieces: list[bytes] = []
        self.complete = asyncio.Event()
        self.credit = asyncio.Event()
        self.task: asyncio.Task[tuple[str, str]] | None = None

    def feed(self, data: bytes) -> None:
        self.pieces.append(data)
        self.received += len(data)
        if self.received >= self.size:
            self.complete.set()

    def stop_waiting(self) -> None:
        if self.waits is not None:
            self.waits.release()

    def take(self) -> bytes:
        data, self.pieces = b"".join(self.pieces), []
        return data


@final
class CallBroker:
    """Carries the calls of one invocation.

    Args:
        desk: What all invocations share.
        caller: On whose behalf.
        limits: Those of the hook.
        link: The way to the worker.
        on_busy: Told when the first of no calls begins, and when the last one has ended.
    """

    def __init__(
        self, desk: Desk, caller: Caller, *, limits: Limits, link: CallLink, on_busy: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._caller = caller
        self._limits = limits
        self._link = link
        self._on_busy = on_busy
        self._places = asyncio.Semaphore(limits.calls_at_once)
        self._memory = ByteBudget(limits.call_request)
        self._open: dict[int, _Incoming] = {}
        self._closed = False
        self.count = 0

    @property
    def busy(self) -> bool:
        """Whether calls are going on."""
        return bool(self._open)

    def take(self, message: CallerMessage) -> None:
        """Take what the worker says about its calls. Never raises, never waits."""
        if self._closed:
            return
        if isinstance(message, Call):
            self._begin(message)
            return
        call = self._open.get(message.call_id)
        if call is None:
            return  # refused or over already
        match message:
            case CallData():
                call.feed(message.data)
            case CallCredit():
                call.credit.set()
            case CallCancel():
                if call.task is not None:
                    call.task.cancel()

    async def close(self) -> None:
        """End all calls, and wait until nothing of them is left."""
        self._closed = True
        tasks = [call.task for call in self._open.values() if call.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, message: Call) -> None:
        self.count += 1
        if self.count > self._limits.calls + EXCESS:
            self._link.break_off(f"the worker goes on making calls over the limit of {self._limits.calls}")
            return
        refusal, waits = self._refuse(message), None
        if not refusal and len(self._open) >= self._limits.calls_at_once:
            waits = self._desk.backlog.try_take(min(message.size, INITIAL_CALL_CREDIT))
            refusal = "" if waits else "too many calls of all endpoints wait for others to end (reverse.memory)"
        if refusal:
            kind = message.kind if message.kind in RULES else "unknown"
            self._desk.finish(kind, "refused", 0.0)
            log.debug("reverse.refused", kind=message.kind, reason=refusal, **self._names())
            self._send_end(message.call_id, "error", refusal)
            return
        call = self._open[message.call_id] = _Incoming(message.size, waits)
        call.feed(message.data)
        loop = asyncio.get_running_loop()
        self._desk.begin(message.kind)
        call.task = loop.create_task(self._try_answer(message.call_id, message.kind, call))
        call.task.add_done_callback(partial(self._conclude, message.call_id, message.kind, loop.time()))
        if len(self._open) == 1:
            self._on_busy()

    def _refuse(self, message: Call) -> str:
        refusal = refuse_kind(message.kind, self._caller.permissions)
        if refusal:
            return refusal
        limits = self._limits
        if self.count > limits.calls:
            count = number_of(self.count, "reverse call")
            return f"{count} in one request, at most {limits.calls} (limits.calls)"
        if message.size > limits.call_request:
            return (
                f"{message.kind}: a request of {message.size} bytes, at most {limits.call_request} "
                "(limits.call_request)"
            )
        return ""

    def _conclude(self, call_id: int, kind: str, began: float, task: asyncio.Task[tuple[str, str]]) -> None:
        """Tell how a call ended: whatever happened to its task, also before it had begun to run."""
        self._open[call_id].stop_waiting()
        outcome, text = ("cancelled", "") if task.cancelled() else task.result()
        seconds = asyncio.get_running_loop().time() - began
        self._desk.finish(kind, outcome, seconds)
        log.debug("reverse.call", kind=kind, outcome=outcome, duration_s=round(seconds, 6), **self._names())
        del self._open[call_id]
        if not self._closed:
            self._send_end(call_id, "end" if outcome in {"ok", "cancelled"} else "error", text)
            if not self._open:
                self._on_busy()

    async def _try_answer(self, call_id: int, kind: str, call: _Incoming) -> tuple[str, str]:
        """Answer a call; how it ended, and what the worker is told of that."""
        clock = asyncio.timeout(self._limits.call_time)
        try:
            async with clock, self._places:
                call.stop_waiting()
                await self._answer(call_id, kind, call)
        except CallFailedError as error:  # what storage says is all that there is to know, in the daemon's words
            return "failed", error.message if kind == "storage" else self._explain(error.message)
        except _WorkerGoneError:
            return "cancelled", ""
        except ProtocolError as error:
            return "failed", self._explain(f"{kind}: {error}")
        except Exception as error:
            if clock.expired():
                limit = f"{self._limits.call_time:g} s (limits.call_time)"
                return "timeout", self._explain(f"{kind}: the call took longer than {limit}")
            log.exception("reverse.broken", kind=kind, **self._names())
            return "broken", self._explain(f"{kind}: the executor could not carry the call: {type(error).__name__}")
        return "ok", ""

    async def _answer(self, call_id: int, kind: str, call: _Incoming) -> None:
        async with contextlib.AsyncExitStack() as held:
            if call.size > INITIAL_CALL_CREDIT:
                await self._make_room(call_id, call, held)
            elif not call.complete.is_set():
                await self._wait_complete(call)
            request = check_request(kind, await _unfold(call.take()))
            target = self._desk.find_target(kind, self._caller)
            items = target.call(self._make_call(kind, request))
            await self._pass_on(call_id, call, items, held)

    async def _make_room(self, call_id: int, call: _Incoming, held: contextlib.AsyncExitStack) -> None:
        """Wait for memory for a large request, then for the request; small ones are here already.

        An invocation waits for itself first, so that it cannot take what others wait for as often as it has calls.
        """
        for memory in (self._memory, self._desk.memory):
            held.callback((await memory.take(call.size)).release)
        with contextlib.suppress(LocalProtocolError):  # the worker was told to stop meanwhile
            self._link.send(CallCredit(call_id=call_id, amount=call.size - INITIAL_CALL_CREDIT))
        await self._wait_complete(call)

    async def _wait_complete(self, call: _Incoming) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIME_S):
                await call.complete.wait()
        except TimeoutError:
            text = f"{call.received} of {call.size} bytes of the request came within {REQUEST_TIME_S:g} s"
            raise CallFailedError(text) from None

    async def _pass_on(
        self, call_id: int, call: _Incoming, items: AsyncIterator[object], held: contextlib.AsyncExitStack
    ) -> None:
        sent = 0
        try:
            async for item in items:
                await held.aclose()  # whoever answers has the request
                data = pack_value(item)
                sent += len(data)
                if sent > self._limits.call_answer:
                    limit = f"at most {self._limits.call_answer} (limits.call_answer)"
                    raise CallFailedError(f"an answer of more than {sent} bytes, {limit}")
                await self._send_item(call_id, call, data)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

    async def _send_item(self, call_id: int, call: _Incoming, data: bytes) -> None:
        view = memoryview(data)
        while view:
            state = self._link.find_call(call_id)
            if state is None or not await self._link.wait_drained():
                raise _WorkerGoneError
            if state.answer_window == 0:
                call.credit.clear()
                await call.credit.wait()
                continue
            size = min(len(view), state.answer_window, MAX_DATA)
            piece = CallResult(call_id=call_id, kind="response", data=bytes(view[:size]), more=size < len(view))
            try:
                self._link.send(piece)
            except LocalProtocolError:
                raise _WorkerGoneError from None
            view = view[size:]

    def _send_end(self, call_id: int, kind: str, text: str) -> None:
        data = clip(text, MOST_ERROR_BYTES).encode()
        with contextlib.suppress(LocalProtocolError):  # the worker was told to stop meanwhile
            self._link.send(CallResult(call_id=call_id, kind=kind, data=data, more=False))

    def _explain(self, text: str) -> str:
        return f"{text} (invocation {self._caller.invocation_id})"

    def _names(self) -> dict[str, str]:
        return {"invocation_id": self._caller.invocation_id, "hook_id": self._caller.hook_id}

    def _make_call(self, kind: str, request: dict[str, object]) -> ReverseCall:
        caller = self._caller
        return ReverseCall(
            kind=kind,
            request=request,
            tenant_id=caller.tenant_id,
            plugin_id=caller.plugin_id,
            hook_id=caller.hook_id,
            invocation_id=caller.invocation_id,
            user_id=caller.user_id,
            session_id=caller.session_id,
        )


async def _unfold(data: bytes) -> object:
    if len(data) <= LARGE:
        return unpack_value(data, nodes=MAX_NODES)
    return await asyncio.to_thread(unpack_value, data, nodes=MAX_NODES)
