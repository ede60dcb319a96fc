"""What is told of a worker when its slot cannot, since the kernel has killed both."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import cast

import pytest

from executor.figures.figures import StartTimes
from executor.isolation.cgroup_v2_group import V2Group
from executor.supervisor.control import Child
from executor.supervisor.ready_worker import ReadyWorker
from executor.supervisor.slots import Slot, SlotPool
from executor.supervisor.worker import WorkerHandle, describe_exit
from executor.supervisor.zygote import SlotClient, Zygote

FILES = {
    "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
    "memory.current": "4096\n",
    "memory.peak": "65536\n",
    "pids.events": "max 0\n",
}


class LostWorker:
    """A worker whose end nobody has reported, and the pool of its slot."""

    def __init__(self, child: Child) -> None:
        self.child = child

    async def wait_exit(self, _grace_s: float) -> None:
        """Wait for nothing."""

    def close(self) -> None:
        """Close nothing."""

    def release(self, _slot: Slot) -> None:
        """Take the slot back."""


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
        worker = LostWorker(client.new_child(()))
        if slot_too:
            pairs[1][1].close()
            assert await worker.child.exited is None
        start = StartTimes(slot_s=None, fork_s=0.0, load_s=0.0)
        report = await ReadyWorker(cast("WorkerHandle", worker), slot, cast("SlotPool", worker), start).finish(0)
        for one in (zygote, client):
            one.close()
        for _, theirs in pairs:
            theirs.close()
        if report is None:
            return None
        assert report.id == worker.child.id
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
