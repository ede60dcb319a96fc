"""The budget of bytes: granted in order, given back whatever happens, never more than there is."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from executor.reverse.budget import ByteBudget, Hold


def test_whoever_does_not_fit_waits_and_nobody_overtakes() -> None:
    """Also when a smaller wish would fit."""

    async def play() -> None:
        budget = ByteBudget(10)
        first = await budget.take(6)
        large = asyncio.create_task(budget.take(10))
        small = asyncio.create_task(budget.take(1))
        await asyncio.sleep(0)
        assert not large.done()
        assert not small.done()
        first.release()
        first.release()
        await large
        assert not small.done()
        (await large).release()
        (await small).release()
        assert budget.held == 0

    asyncio.run(play())


def test_a_wish_for_more_than_all_is_granted_alone() -> None:
    """Otherwise nobody could ever grant it."""

    async def play() -> None:
        budget = ByteBudget(10)
        first = await budget.take(1)
        huge = asyncio.create_task(budget.take(100))
        await asyncio.sleep(0)
        assert not huge.done()
        first.release()
        (await huge).release()
        assert budget.held == 0

    asyncio.run(play())


@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["keep", "cancel", "late"])), max_size=20))
def test_nothing_is_lost(wishes: list[tuple[int, str]]) -> None:
    """Waits that are cancelled, before or just when they are granted, give back what they have."""

    async def play() -> None:
        budget = ByteBudget(10)
        first = await budget.take(10)
        tasks: list[tuple[asyncio.Task[Hold], str]] = []
        for size, fate in wishes:
            tasks.append((asyncio.create_task(budget.take(size)), fate))
        await asyncio.sleep(0)
        for task, fate in tasks:
            if fate == "cancel":
                task.cancel()
        first.release()
        for task, fate in tasks:
            if fate == "late":
                task.cancel()
        for task, _fate in tasks:
            await asyncio.wait({task})
            if not task.cancelled():
                task.result().release()
        assert budget.held == 0

    asyncio.run(play())
