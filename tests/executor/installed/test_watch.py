"""Noticing changes of the store, and answering who waits for them."""

from __future__ import annotations

import asyncio

import pytest

from executor.installed import watch as module
from executor.installed.watch import Applied, StoreWatch
from executor.store.errors import StoreError


def test_who_asks_is_answered_by_a_reading_that_began_afterwards() -> None:
    """One that asks while the store is being read has to wait for the next time: its change may not be in it."""

    async def run() -> None:
        woken: list[None] = []
        watch = StoreWatch(lambda: 0, lambda: woken.append(None))
        assert not watch.wanted
        first = asyncio.create_task(watch.ask())
        await asyncio.sleep(0)
        assert watch.wanted
        watch.begin()
        assert not watch.wanted
        second = asyncio.create_task(watch.ask())
        await asyncio.sleep(0)
        watch.finish(Applied(1))
        assert await first == Applied(1)
        assert not second.done()
        watch.begin()
        watch.finish(Applied(2))
        assert await second == Applied(2)
        assert len(woken) == 2
        last = asyncio.create_task(watch.ask())
        await asyncio.sleep(0)
        watch.close()
        with pytest.raises(asyncio.CancelledError):
            await last

    asyncio.run(run())


def test_changes_that_nobody_tells_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another count wakes; the same one does not, and a store that is away for a while is looked at again."""
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    counts: list[int | None] = [5, 5, None, 6]

    async def run() -> None:
        woken = asyncio.Event()

        def count() -> int:
            found = counts.pop(0) if len(counts) > 1 else counts[0]
            if found is None:
                raise StoreError("away")
            return found

        watch = StoreWatch(count, woken.set)
        watch.finish(Applied(5))
        looking = asyncio.create_task(watch.look())
        await woken.wait()
        assert counts == [6]
        assert watch.wanted
        looking.cancel()

    asyncio.run(run())
