"""The broker: one invocation's calls, played against a worker's end of the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from executor.catalog.permissions import Permissions
from executor.config.limits import Limits
from executor.reverse.broker import EXCESS, CallBroker, Caller
from executor.reverse.budget import ByteBudget
from executor.reverse.call import CallFailedError, CallTarget, ReverseCall
from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.calls import CallMessage, CallState, CallTable
from protocol.errors import LocalProtocolError
from protocol.limits import INITIAL_CALL_CREDIT, MAX_DATA, MAX_OPEN_CALLS
from protocol.states import Role
from protocol.values import pack_value, unpack_value

APP = {"app_id": "a", "inputs": {}}


class PlayedTarget:
    """Answers with what the test says; `ended` counts calls that are over, however they ended."""

    def __init__(self, answer: Callable[[ReverseCall], AsyncIterator[object]]) -> None:
        self._answer = answer
        self.calls: list[ReverseCall] = []
        self.ended = 0

    async def call(self, call: ReverseCall) -> AsyncIterator[object]:
        """Answer a call."""
        self.calls.append(call)
        try:
            async for item in self._answer(call):
                yield item
        finally:
            self.ended += 1


class Stage:
    """A broker, with everything around it: the desk, and the worker's side, which the protocol checks."""

    def __init__(self, answer: Callable[[ReverseCall], AsyncIterator[object]], limits: Limits | None = None) -> None:
        self.target = PlayedTarget(answer)
        self.memory = ByteBudget(1 << 20)
        self.backlog = ByteBudget(1 << 18)
        self.counted: list[tuple[str, str]] = []
        self.in_flight = 0
        self.table = CallTable()
        self.sent: list[CallResult | CallCredit] = []
        self.broken = ""
        self.cancelled = False
        self.drained = asyncio.Event()
        self.drained.set()
        self.busy: list[bool] = []
        caller = Caller(
            tenant_id="t",
            plugin_id="author/name",
            hook_id="h",
            invocation_id="inv",
            user_id="u",
            session_id="s",
            permissions=Permissions(frozenset({"app", "storage"}), 1024),
        )
        self.broker = CallBroker(
            self, caller, limits=limits or Limits(), link=self, on_busy=lambda: self.busy.append(self.broker.busy)
        )

    def find_target(self, _kind: str, caller: Caller) -> CallTarget:
        """Part of the desk."""
        assert caller.plugin_id == "author/name"
        return self.target

    def begin(self, _kind: str) -> None:
        """Part of the desk."""
        self.in_flight += 1

    def finish(self, kind: str, outcome: str, seconds: float) -> None:
        """Part of the desk."""
        assert seconds >= 0
        self.in_flight -= outcome != "refused"
        self.counted.append((kind, outcome))

    def send(self, message: CallResult | CallCredit) -> None:
        """Part of the link: what goes out is legal."""
        if self.cancelled:
            raise LocalProtocolError("cancelled")
        self.table.apply(Role.SUPERVISOR, message)
        self.sent.append(message)

    async def wait_drained(self) -> bool:
        """Part of the link."""
        await self.drained.wait()
        return not self.broken

    def find_call(self, call_id: int) -> CallState | None:
        """Part of the link."""
        return self.table.find(call_id)

    def break_off(self, reason: str) -> None:
        """Part of the link."""
        self.broken = reason

    def say(self, *messages: CallMessage) -> None:
        """What the worker says, which is legal."""
        for message in messages:
            self.table.apply(Role.WORKER, message)
            assert not isinstance(message, CallResult)
            self.broker.take(message)

    def ask(self, request: object = APP, kind: str = "app") -> int:
        """A whole call."""
        data = pack_value(request)
        call_id = self.table.next_id
        self.say(Call(call_id, kind, len(data), data))
        return call_id

    async def wait_idle(self) -> None:
        """Until no call goes on."""
        for _ in range(10_000):
            if not self.broker.busy:
                return
            await asyncio.sleep(0.001)
        raise AssertionError("a call does not end")

    async def settle(self) -> None:
        """Let everything happen that can happen without time."""
        for _ in range(50):
            await asyncio.sleep(0)

    def answers(self, call_id: int) -> list[Any]:
        """Items of an answer, and the texts of its end, as a worker takes them."""
        found: list[Any] = []
        pieces = b""
        for message in self.sent:
            if not isinstance(message, CallResult) or message.call_id != call_id:
                continue
            pieces += message.data
            if not message.more:
                found.append(unpack_value(pieces) if message.kind == "response" else (message.kind, pieces.decode()))
                pieces = b""
        return found


def play(test: Callable[[Stage], Awaitable[None]], answer: Any, limits: Limits | None = None) -> None:
    """Run a test; afterwards nothing is left of any call."""

    async def run() -> None:
        stage = Stage(answer, limits)
        await test(stage)
        await stage.broker.close()
        assert not stage.broker.busy
        assert stage.memory.held == 0
        assert stage.backlog.held == 0
        assert stage.in_flight == 0
        assert stage.target.ended == len(stage.target.calls)

    asyncio.run(run())


async def echo(call: ReverseCall) -> AsyncIterator[object]:
    """What was asked, and who asks."""
    yield {"request": call.request, "who": [call.tenant_id, call.plugin_id, call.hook_id, call.user_id]}


async def measure(call: ReverseCall) -> AsyncIterator[object]:
    """How long the question is."""
    yield {"length": len(str(call.request["query"]))}


async def never(_call: ReverseCall) -> AsyncIterator[object]:
    """Nothing, for ever."""
    await asyncio.Event().wait()
    yield None


async def for_ever(_call: ReverseCall) -> AsyncIterator[object]:
    """Items without an end."""
    while True:
        yield {"data": b"x" * 1000}
        await asyncio.sleep(0)


def test_a_call_is_answered() -> None:
    """With what the target says, on behalf of the caller."""

    async def test(stage: Stage) -> None:
        call_id = stage.ask()
        await stage.wait_idle()
        assert stage.answers(call_id) == [
            {"request": APP, "who": ["t", "author/name", "h", "u"]},
            ("end", ""),
        ]
        assert stage.counted == [("app", "ok")]
        assert stage.busy == [True, False]
        assert stage.table.count == 0

    play(test, echo)


def test_a_large_request_comes_when_there_is_room() -> None:
    """Its size is known first; what is missing is asked for, and comes in pieces."""

    async def test(stage: Stage) -> None:
        request = {**APP, "query": "x" * 300_000, "app_id": "long"}
        data = pack_value(request)
        taken = await stage.memory.take(1 << 20)
        stage.say(Call(0, "app", len(data), data[:MAX_DATA]))
        await stage.settle()
        assert stage.sent == []
        taken.release()
        await stage.settle()
        assert stage.sent == [CallCredit(0, len(data) - INITIAL_CALL_CREDIT)]
        for start in range(MAX_DATA, len(data), MAX_DATA):
            stage.say(CallData(0, data[start : start + MAX_DATA]))
        await stage.wait_idle()
        assert stage.answers(0) == [{"length": 300_000}, ("end", "")]
        assert stage.target.calls[0].request == request

    play(test, measure)


def test_an_answer_waits_for_the_worker() -> None:
    """For its credit, and for its pipe; the target is not asked for more meanwhile."""

    async def test(stage: Stage) -> None:
        stage.ask()
        await stage.settle()
        size = len(pack_value({"data": b"x" * 1000}))
        for _ in range(1000):
            await asyncio.sleep(0)
        sent = sum(len(message.data) for message in stage.sent if isinstance(message, CallResult))
        assert sent == INITIAL_CALL_CREDIT
        stage.drained.clear()
        stage.say(CallCredit(0, 10 * size))
        await stage.settle()
        assert sum(len(message.data) for message in stage.sent if isinstance(message, CallResult)) == sent
        stage.drained.set()
        for _ in range(200):
            await asyncio.sleep(0)
        assert sum(len(message.data) for message in stage.sent if isinstance(message, CallResult)) == sent + 10 * size

    play(test, for_ever)


def test_a_call_that_is_taken_back() -> None:
    """Ends at the target, and the worker hears of its end, so that both forget it."""

    async def test(stage: Stage) -> None:
        call_id = stage.ask()
        await stage.settle()
        assert stage.broker.busy
        stage.say(CallCancel(call_id))
        await stage.wait_idle()
        assert stage.answers(call_id) == [("end", "")]
        assert stage.table.count == 0
        assert stage.counted == [("app", "cancelled")]
        at_once = stage.ask()
        stage.say(CallCancel(at_once))
        await stage.wait_idle()
        assert stage.answers(at_once) == [("end", "")]
        assert stage.table.count == 0

    play(test, never)


def test_the_end_of_the_invocation_ends_calls() -> None:
    """Wherever they are: waiting for a place, for their request, for the target, for credit."""

    async def test(stage: Stage) -> None:
        stage.say(Call(0, "app", 100, b"x"))
        stage.ask()
        stage.ask()
        await stage.settle()
        assert stage.broker.busy
        await stage.broker.close()
        assert stage.counted == [("app", "cancelled")] * 3
        stage.say(Call(9, "app", 1, b"\x80"))
        assert not stage.broker.busy

    play(test, never, Limits(calls_at_once=2))


@pytest.mark.parametrize(
    ("limits", "kind", "size", "text"),
    [
        (Limits(), "encrypt", 1, "unsupported invoke type: encrypt"),
        (Limits(), "llm", 1, "permission denied, you need to enable llm access in plugin manifest"),
        (Limits(calls=0), "app", 1, "1 reverse call in one request, at most 0 (limits.calls)"),
        (Limits(call_request=1024), "app", 1025, "app: a request of 1025 bytes, at most 1024 (limits.call_request)"),
    ],
)
def test_what_is_refused(limits: Limits, kind: str, size: int, text: str) -> None:
    """At once; pieces of it that are under way are dropped."""

    async def test(stage: Stage) -> None:
        stage.say(Call(0, kind, size, b"\x80"))
        assert stage.answers(0) == [("error", text)]
        assert stage.counted == [("unknown" if kind == "encrypt" else kind, "refused")]
        if size > 1:
            stage.say(CallData(0, b"x"), CallCancel(0))
        assert stage.table.count == 0

    play(test, echo, limits)


@pytest.mark.parametrize("size", [100, INITIAL_CALL_CREDIT, 1 << 20])
def test_what_waits_for_a_place_is_bounded(size: int) -> None:
    """Whatever a worker has sent of it, and before it has sent it; a place that is free again makes room."""

    async def test(stage: Stage) -> None:
        room = stage.backlog.total // min(size, INITIAL_CALL_CREDIT)
        for call_id in range(MAX_OPEN_CALLS):
            stage.say(Call(call_id, "app", size, b""))
        refused = [call_id for call_id in range(MAX_OPEN_CALLS) if stage.answers(call_id)]
        assert refused == list(range(min(room + 1, MAX_OPEN_CALLS), MAX_OPEN_CALLS))
        await stage.settle()
        held = stage.backlog.held
        assert held <= stage.backlog.total
        stage.say(CallCancel(0))
        await stage.settle()
        assert stage.backlog.held < held

    play(test, never, Limits(calls_at_once=1))


def test_who_does_not_stop_is_broken_off() -> None:
    """Refusals are cheap, but not for ever."""

    async def test(stage: Stage) -> None:
        for _ in range(EXCESS + 2):
            stage.ask()
        assert "goes on making calls over the limit of 1" in stage.broken

    play(test, echo, Limits(calls=1))


@pytest.mark.parametrize("data", [b"\xc1", b"\x90", b"\x80", b"\x91" * 200, b"\xdd\xff\xff\xff\xff", b"\xa1\xff"])
def test_requests_that_are_none(data: bytes) -> None:
    """Fail alone, with a reason; the worker has broken nothing."""

    async def test(stage: Stage) -> None:
        stage.say(Call(0, "app", len(data), data))
        await stage.wait_idle()
        ((kind, text),) = stage.answers(0)
        assert kind == "error"
        assert text.startswith("app: ")
        assert text.endswith("(invocation inv)")
        assert stage.target.calls == []
        assert not stage.broken

    play(test, echo)


def test_failures_of_targets() -> None:
    """What they say is passed on; what they do not expect is told without its content."""

    async def answer(call: ReverseCall) -> AsyncIterator[object]:
        match call.request["app_id"]:
            case "failed":
                yield 1
                raise CallFailedError("the app is tired")
            case "broken":
                raise KeyError("a secret")
            case "timeout":
                raise TimeoutError("theirs, not ours")
            case "odd":
                yield object()
            case "long":
                raise CallFailedError("x" * 100_000)

    async def test(stage: Stage) -> None:
        for name in ("failed", "broken", "timeout", "odd", "long"):
            stage.ask({**APP, "app_id": name})
        await stage.wait_idle()
        assert stage.answers(0) == [1, ("error", "the app is tired (invocation inv)")]
        assert stage.answers(1) == [("error", "app: the executor could not carry the call: KeyError (invocation inv)")]
        assert stage.answers(2)[0][1].startswith("app: the executor could not carry the call: TimeoutError")
        assert "object is not plain data" in stage.answers(3)[0][1]
        assert len(stage.answers(4)[0][1]) <= 4096
        assert sorted(outcome for _, outcome in stage.counted) == ["broken", "broken", "failed", "failed", "failed"]

    play(test, answer)


def test_time_is_over() -> None:
    """Also for a call that waits for a place, or for its own request."""

    async def test(stage: Stage) -> None:
        stage.ask()
        stage.say(Call(1, "app", 100, b"x"))
        await stage.wait_idle()
        text = "app: the call took longer than 0.02 s (limits.call_time) (invocation inv)"
        assert stage.answers(0) == [("error", text)]
        assert stage.answers(1) == stage.answers(0)
        assert [outcome for _, outcome in stage.counted] == ["timeout", "timeout"]

    play(test, never, Limits(call_time=0.02, calls_at_once=1))


def test_an_answer_that_is_too_long() -> None:
    """Is cut off with the name of the limit."""

    async def test(stage: Stage) -> None:
        stage.ask()
        await stage.wait_idle()
        assert "at most 2048 (limits.call_answer)" in stage.answers(0)[-1][1]

    play(test, for_ever, Limits(call_answer=2048))


def test_a_worker_that_was_told_to_stop() -> None:
    """Nothing can be sent to it any more, and nothing raises."""

    async def test(stage: Stage) -> None:
        stage.ask()
        stage.cancelled = True
        await stage.wait_idle()
        assert stage.sent == []

    play(test, echo)
