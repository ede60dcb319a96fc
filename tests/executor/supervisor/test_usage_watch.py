"""Watching what a worker uses where no control group counts it."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import cast

import pytest

from executor.config.limits import Limits
from executor.outcome import Outcome
from executor.supervisor import usage_watch
from executor.supervisor.control import Child
from executor.supervisor.slots import Slot
from executor.supervisor.usage_watch import UsageWatch


def test_a_look_that_fails_is_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left to look at the processes for a moment; they are held to their limits after it."""
    looks: list[int] = []

    def look(_slot_pid: int, _worker_pid: int) -> tuple[float, int]:
        looks.append(1)
        if len(looks) == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return 2 * Limits().cpu_time, 0

    async def test() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(usage_watch, "look_at_processes", look)
        slot = SimpleNamespace(group=None, client=SimpleNamespace(pid=1), cpu_before_s=0.0)
        child = Child(1, loop)
        child.pid = 2
        told: asyncio.Future[Outcome] = loop.create_future()
        watch = UsageWatch(cast("Slot", slot), child, Limits(), lambda outcome, _: told.set_result(outcome))
        async with asyncio.timeout(60):
            assert await told is Outcome.TIMEOUT_CPU
        watch.stop()

    asyncio.run(test())
