"""What is told of a worker when its slot cannot, since the kernel has killed both; how many slots are born at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.config.isolation import Isolation
from executor.isolation.cgroup_v2_group import V2Group
from executor.isolation.host import HostIsolation
from executor.supervisor.slots import BIRTHS_AT_ONCE, Slot, SlotPool
from executor.supervisor.worker import describe_exit
from executor.supervisor.zygote import SlotClient, Zygote

FILES = {
    "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
    "memory.current": "4096\n",
    "memory.peak": "65536\n",
    "pids.events": "max 0\n",
}


def kill(folder: Path, events: str, *, slot_too: bool) -> tuple[float, float, int, str] | None:
    """Have a worker end, and its slot with it, in a group that tells this; what is reported of it."""
    for name, content in {**FILES, "memory.events": events}.items():
        (folder / name).write_text(content)

    async def run() -> tuple[float, float, int, str] | None:
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        zygote, client = Zygote("zygote", pairs[0][0], loop), SlotClient("slot", pairs[1][0], loop)
        group = V2Group("slot", str(folder), cpu=True, swap=True)
        slot = Slot(zygote, zygote.new_child(()), client, number=0, group=group)
        worker = client.new_child(())
        if slot_too:
            pairs[1][1].close()
            assert await worker.exited is None
        report = slot.report_kill(worker)
        for one in (zygote, client):
            one.close()
        for _, theirs in pairs:
            theirs.close()
        if report is None:
            return None
        assert report.id == worker.id
        return report.utime_s, report.stime_s, report.max_rss_bytes, describe_exit(report)

    return asyncio.run(run())


def test_the_group_tells(tmp_path: Path) -> None:
    """It has counted what the worker used."""
    told = kill(tmp_path, "oom 1\noom_kill 3\n", slot_too=True)
    assert told == (1.0, 0.5, 65536, "signal 9 (SIGKILL)")


@pytest.mark.parametrize(("events", "slot_too"), [("oom 0\noom_kill 0\n", True), ("oom 1\noom_kill 1\n", False)])
def test_otherwise_nobody_knows(tmp_path: Path, events: str, *, slot_too: bool) -> None:
    """A slot that was lost for another reason says nothing, and one that lives is asked itself."""
    assert kill(tmp_path, events, slot_too=slot_too) is None


class Midwife(SlotPool):
    """Slots of this pool are born when the test says so.

    Attributes:
        births: Those that are on their way.
    """

    def __init__(self, host: HostIsolation, zygote: Zygote) -> None:
        super().__init__("midwife", host, self._no_zygote)
        self._parent = zygote
        self.births: list[asyncio.Future[Slot]] = []

    async def _create(self) -> Slot:
        birth: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self.births.append(birth)
        return await birth

    async def _no_zygote(self) -> Zygote:
        return self._parent


@contextlib.contextmanager
def new_slot() -> Iterator[tuple[Zygote, Slot]]:
    """A slot that seems to be alive."""
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    zygote, client = Zygote("zygote", pairs[0][0], loop), SlotClient("slot", pairs[1][0], loop)
    try:
        yield zygote, Slot(zygote, zygote.new_child(()), client, number=0, group=None)
    finally:
        for one in (zygote, client):
            one.close()
        for _, theirs in pairs:
            theirs.close()


def test_a_few_slots_are_born_at_once() -> None:
    """Whoever waits for a turn takes a slot that has become idle meanwhile, and has none born."""

    async def run() -> None:
        with (
            contextlib.closing(HostIsolation(Isolation(off=("control_groups",)))) as host,
            new_slot() as (zygote, slot),
        ):
            pool = Midwife(host, zygote)
            asked = [asyncio.create_task(pool.acquire()) for _ in range(BIRTHS_AT_ONCE + 2)]
            await asyncio.sleep(0)
            assert len(pool.births) == BIRTHS_AT_ONCE
            pool.births[0].set_result(slot)
            assert await asked[0] is slot
            await asyncio.sleep(0)
            assert len(pool.births) == BIRTHS_AT_ONCE + 1
            pool.release(slot)
            pool.births[1].set_exception(OSError("no descriptors"))
            assert await asked[BIRTHS_AT_ONCE + 1] is slot
            assert len(pool.births) == BIRTHS_AT_ONCE + 1
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(run())
