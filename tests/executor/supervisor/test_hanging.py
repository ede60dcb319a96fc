"""Slots and zygotes that do not answer any more: each is ended by whoever has forked it, and replaced."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from executor.supervisor import slots as slot_pools
from executor.supervisor import worker as workers
from executor.supervisor.ready_worker import StartError
from executor.supervisor.runtime import PluginRuntime
from tests.e2e.harness import wait_ended
from tests.executor.supervisor.test_runtime import serve_one, start, with_runtime

SHORT = {
    (workers, "KILL_TIME_S"): 0.2,
    (workers, "SLOT_KILL_TIME_S"): 0.2,
    (slot_pools, "END_TIME_S"): 0.2,
    (slot_pools, "READY_TIME_S"): 2.0,
    (slot_pools, "REMOVE_TRIES"): 10,
}
"""For how long, or how often, is waited for what does not come, in place of many seconds."""


@pytest.mark.parametrize("which", ["slot", "slot and zygote"])
def test_what_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """Whoever waits is told; the slot is ended by its zygote, and the zygote by the base zygote."""
    for (module, name), value in SHORT.items():
        monkeypatch.setattr(module, name, value)

    async def test(runtime: PluginRuntime) -> None:
        worker = await start(runtime)
        hanging = [psutil.Process(worker.slot.client.pid)]
        worker.handle.kill()
        await worker.finish(0)
        if which == "slot and zygote":
            hanging.append(psutil.Process((await runtime._zygote.obtain()).pid))
        for process in hanging:
            process.suspend()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await start(runtime)
        async with asyncio.timeout(120):
            while not await served(runtime):  # for as long as it takes to notice
                pass
        await asyncio.to_thread(wait_ended, hanging)

    with_runtime(test)


async def served(runtime: PluginRuntime) -> bool:
    """Try to start a worker, and end it; whether there was one."""
    try:
        await serve_one(runtime)
    except StartError:
        return False
    return True
