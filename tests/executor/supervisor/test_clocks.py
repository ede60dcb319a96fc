"""Whose clock runs in an invocation, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from executor.config.limits import Limits
from executor.outcome import Outcome
from executor.reverse.broker import CallBroker
from executor.supervisor.clocks import Clocks
from tests.executor.supervisor.test_watchdog import FakeLoop, make

LIMITS = Limits(first_byte_time=3.0, idle_time=2.0, client_idle_time=5.0)


class Calls:
    """Reverse calls, of which some may be open."""

    busy = False


def begin() -> tuple[FakeLoop, Clocks, list[tuple[Outcome, float]]]:
    """The clocks of an endpoint that has just been called, the time, and what has expired."""
    loop, watchdog, expired = make()
    clocks = Clocks(watchdog, LIMITS)
    clocks.state = "running"
    clocks.watch_endpoint()
    return loop, clocks, expired


@pytest.mark.parametrize(
    ("state", "expiry"),
    [
        ("starting", (Outcome.TIMEOUT_FIRST_BYTE, 3.0)),
        ("running", (Outcome.TIMEOUT_FIRST_BYTE, 3.0)),
        ("responding", (Outcome.TIMEOUT_IDLE, 2.0)),
    ],
)
def test_the_endpoint_is_waited_for(state: str, expiry: tuple[Outcome, float]) -> None:
    """First for its answer, which includes the start of the worker, then for every piece of it."""
    loop, clocks, expired = begin()
    clocks.state = state
    clocks.watch_endpoint()
    loop.advance(expiry[1] - 0.5)
    assert expired == []
    loop.advance(1.0)
    assert expired == [expiry]


def test_the_client_is_waited_for_while_it_takes_the_answer() -> None:
    """It has a time of its own, which reverse calls that begin or end meanwhile do not change."""
    loop, clocks, expired = begin()
    clocks.state = "responding"

    async def send(seconds: float) -> None:
        loop.advance(seconds)
        clocks.watch_endpoint()

    asyncio.run(clocks.wait_sent(send(4.0)))
    assert expired == []
    loop.advance(2.5)
    assert expired == [(Outcome.TIMEOUT_IDLE, 2.0)]
    loop, clocks, expired = begin()
    asyncio.run(clocks.wait_sent(send(5.5)))
    assert expired == [(Outcome.CLIENT_TIMEOUT, 5.0)]


@pytest.mark.parametrize(("state", "expiries"), [("running", []), ("responding", [(Outcome.TIMEOUT_IDLE, 2.0)])])
def test_the_endpoint_may_wait_for_the_body(state: str, expiries: list[tuple[Outcome, float]]) -> None:
    """Until it answers: whoever answers before the end of the body does not wait for it."""
    loop, clocks, expired = begin()
    clocks.state = state
    clocks.watch_endpoint()

    async def receive() -> bytes:
        loop.advance(4.0)
        return b"data"

    assert asyncio.run(clocks.wait_received(receive())) == b"data"
    assert expired == expiries
    if state == "running":
        loop.advance(3.5)
        assert expired == [(Outcome.TIMEOUT_FIRST_BYTE, 3.0)]


def test_a_silent_client_is_not_waited_for_longer() -> None:
    """Its time is over, and the endpoint's clock runs again."""

    async def run() -> None:
        loop, watchdog, expired = make()
        clocks = Clocks(watchdog, Limits(first_byte_time=3.0, client_idle_time=0.01))
        clocks.state = "running"
        with pytest.raises(TimeoutError):
            await clocks.wait_received(asyncio.get_running_loop().create_future())
        loop.advance(3.5)
        assert expired == [(Outcome.TIMEOUT_FIRST_BYTE, 3.0)]

    asyncio.run(run())


def test_reverse_calls_take_their_own_time() -> None:
    """The endpoint's clock rests while some are open."""
    loop, clocks, expired = begin()
    calls = Calls()
    clocks.calls = cast("CallBroker", calls)
    calls.busy = True
    clocks.watch_endpoint()
    loop.advance(10.0)
    assert expired == []
    calls.busy = False
    clocks.watch_endpoint()
    loop.advance(3.5)
    assert expired == [(Outcome.TIMEOUT_FIRST_BYTE, 3.0)]


@pytest.mark.parametrize("state", ["finishing", "ending"])
def test_nobody_is_waited_for_after_the_answer(state: str) -> None:
    """Reverse calls that end then start no clock: the time after the answer has a bound of its own."""
    loop, clocks, expired = begin()
    clocks.state = state
    clocks.watch_endpoint()
    loop.advance(9.0)
    assert expired == []
