"""Admission: limits, fairness, and no place lost whatever happens to a waiter."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.outcome import Outcome
from executor.supervisor.admission import Admission, RejectedError


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine."""
    asyncio.run(test)


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def make(concurrency: int = 2, queue_length: int = 10, queue_time_s: float = 60.0) -> Admission:
    """An admission with small limits."""
    return Admission(concurrency=concurrency, queue_length=queue_length, queue_time_s=queue_time_s)


def test_within_the_limits_nobody_waits() -> None:
    """Places are given at once and counted."""

    async def test() -> None:
        admission = make(2)
        await admission.acquire("a", concurrency=2, queue_length=0)
        await admission.acquire("b", concurrency=2, queue_length=0)
        assert (admission.running, admission.queued) == (2, 0)
        admission.release("a")
        admission.release("b")
        assert admission.running == 0
        await admission.wait_idle()

    run(test())


def test_the_one_limit_is_429_and_the_other_503() -> None:
    """The outcome names the limit that was met."""

    async def test() -> None:
        admission = make(2)
        await admission.acquire("a", concurrency=1, queue_length=0)
        with pytest.raises(RejectedError) as refused:
            await admission.acquire("a", concurrency=1, queue_length=0)
        assert refused.value.outcome is Outcome.QUEUE_HOOK
        await admission.acquire("b", concurrency=9, queue_length=0)
        with pytest.raises(RejectedError) as refused:
            await admission.acquire("c", concurrency=9, queue_length=0)
        assert refused.value.outcome is Outcome.QUEUE_FULL

    run(test())


def test_the_queue_in_all_is_bounded() -> None:
    """However much room a hook's own queue has."""

    async def test() -> None:
        admission = make(1, queue_length=1)
        await admission.acquire("a", concurrency=1, queue_length=9)
        waiting = asyncio.create_task(admission.acquire("b", concurrency=1, queue_length=9))
        await settle()
        with pytest.raises(RejectedError) as refused:
            await admission.acquire("c", concurrency=1, queue_length=9)
        assert refused.value.outcome is Outcome.QUEUE_FULL
        admission.release("a")
        await waiting

    run(test())


def test_a_wait_that_is_too_long_ends() -> None:
    """And leaves nothing behind."""

    async def test() -> None:
        admission = make(1, queue_time_s=0.01)
        await admission.acquire("a", concurrency=1, queue_length=9)
        with pytest.raises(RejectedError) as refused:
            await admission.acquire("b", concurrency=1, queue_length=9)
        assert refused.value.outcome is Outcome.QUEUE_FULL
        assert (admission.running, admission.queued) == (1, 0)

    run(test())


def test_hooks_take_turns() -> None:
    """A long queue of one hook delays nobody but itself."""

    async def test() -> None:
        admission = make(1, queue_length=100)
        order: list[str] = []

        async def call(hook: str) -> None:
            await admission.acquire(hook, concurrency=1, queue_length=100)
            order.append(hook)
            await settle()
            admission.release(hook)

        calls = [asyncio.create_task(call("busy")) for _ in range(6)]
        await settle()
        calls += [asyncio.create_task(call(hook)) for hook in ("x", "y")]
        await asyncio.gather(*calls)
        assert set(order[:5]) >= {"x", "y"}, order
        assert order.count("busy") == 6

    run(test())


def test_a_place_granted_to_a_waiter_that_is_cancelled_is_not_lost() -> None:
    """Cancelled in the very moment in which it was granted."""

    async def test() -> None:
        admission = make(1)
        await admission.acquire("a", concurrency=1, queue_length=9)
        waiting = asyncio.create_task(admission.acquire("b", concurrency=1, queue_length=9))
        await settle()
        admission.release("a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (admission.running, admission.queued) == (0, 0)
        await admission.acquire("c", concurrency=1, queue_length=0)

    run(test())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["run", "cancel", "late"])), max_size=30),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_limits_hold_and_nothing_is_lost(calls: list[tuple[str, str]], concurrency: int, per_hook: int) -> None:
    """Whatever comes and goes: never more than the limits at once, and in the end nothing runs and nothing waits."""

    async def test() -> None:
        admission = make(concurrency, queue_length=20)
        running: dict[str, int] = {"a": 0, "b": 0, "c": 0}

        async def call(hook: str, how: str) -> None:
            try:
                await admission.acquire(hook, concurrency=per_hook, queue_length=5)
            except RejectedError:
                return
            running[hook] += 1
            assert running[hook] <= per_hook
            assert sum(running.values()) <= admission.running <= concurrency
            try:
                await asyncio.sleep(0.001 if how == "late" else 0)
            finally:
                running[hook] -= 1
                admission.release(hook)

        tasks = []
        for hook, how in calls:
            tasks.append(asyncio.create_task(call(hook, how)))
            await asyncio.sleep(0)
            if how == "cancel":
                tasks[len(tasks) // 2].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)]
        assert (admission.running, admission.queued) == (0, 0)
        assert not admission._lanes
        assert not admission._turns
        await admission.wait_idle()

    run(test())
