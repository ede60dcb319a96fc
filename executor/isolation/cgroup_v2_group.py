"""The group of one slot, in the hierarchy of version 2.

    memory.max, memory.swap.max   the limits; no swap at all
    memory.oom.group              1: when memory runs out, all that is in the group is killed, not one process
    memory.peak                   since Linux 5.19; since 6.12 a write begins a new period for the descriptor that
                                  it was written to, so one descriptor is kept
    memory.events                 told by POLLPRI, which only an epoll of its own can wait for: for POLLIN, which an
                                  event loop waits for, the file is always ready
    cgroup.kill                   since Linux 5.14; kills all at once, forks in progress included

Source: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final

from executor.isolation.cgroup_files import parse_keys, write_text
from executor.isolation.cgroup_group import (
    CPU_PERIOD_US,
    SLOT_MEMORY_BYTES,
    SLOT_PROCESSES,
    ControlGroup,
    Counters,
    cpu_quota_us,
)
from executor.isolation.cgroup_oom import OomWatch

__all__ = ["V2Group"]

_MICROSECONDS: Final = 1_000_000
_EVENTS_BYTES: Final = 4096
"""More than `memory.events` has."""


class V2Group(ControlGroup):
    """The group of one slot.

    Args:
        name: Of its folder.
        folder: Absolute; it exists.
        cpu: Whether the CPU controller is enabled.
        swap: Whether swap can be limited.
    """

    def __init__(self, name: str, folder: str, *, cpu: bool, swap: bool) -> None:
        super().__init__(name, (folder,))
        self._folder = folder
        self._cpu = cpu
        self._swap = swap
        self._peak: int | None = None  # a descriptor
        self._peak_before = -1

    def apply(self, *, memory_bytes: int, processes: int, cpu_share: float) -> None:
        """Set the limits; see the base class."""
        self._set(f"{self._folder}/memory.oom.group", "1")
        if self._swap:
            self._set(f"{self._folder}/memory.swap.max", "0")
        self._set(f"{self._folder}/memory.max", str(memory_bytes + SLOT_MEMORY_BYTES))
        self._set(f"{self._folder}/pids.max", str(processes + SLOT_PROCESSES))
        if self._cpu:
            self._set(f"{self._folder}/cpu.max", f"{cpu_quota_us(cpu_share)} {CPU_PERIOD_US}")

    def unthrottle(self) -> None:
        """Lift the limit of CPU time; see the base class."""
        if self._cpu:
            self._set(f"{self._folder}/cpu.max", f"max {CPU_PERIOD_US}")

    def kill(self) -> None:
        """Send SIGKILL to all that is in the group; see the base class."""
        try:
            write_text(f"{self._folder}/cgroup.kill", "1")
        except OSError:
            super().kill()

    def release(self) -> None:
        """Close the descriptors; see the base class."""
        super().release()
        if self._peak is not None:
            os.close(self._peak)
            self._peak = None

    def _count(self) -> Counters:
        cpu = self._files.read_keys(f"{self._folder}/cpu.stat")
        return Counters(
            cpu_s=cpu["usage_usec"] / _MICROSECONDS,
            cpu_system_s=cpu["system_usec"] / _MICROSECONDS,
            oom_kills=self._files.read_keys(f"{self._folder}/memory.events").get("oom_kill", 0),
            fork_refusals=self._files.read_keys(f"{self._folder}/pids.events").get("max", 0),
        )

    def _read_memory(self) -> int:
        return self._files.read_number(f"{self._folder}/memory.current")

    def _read_peak(self) -> int | None:
        """Read the highest usage of this period; where none can be begun, a higher one than before was in it."""
        if self._peak is not None:
            return int(os.pread(self._peak, 32, 0))
        peak = self._read_peak_of_all()
        return peak if peak is not None and peak > self._peak_before else None

    def _reset_peak(self) -> None:
        if not self._begin_peak():
            peak = self._read_peak_of_all()
            self._peak_before = -1 if peak is None else peak

    def _begin_peak(self) -> bool:
        """Begin a new period for `memory.peak`, if this kernel can."""
        descriptor = self._peak
        try:
            if descriptor is None:
                descriptor = os.open(f"{self._folder}/memory.peak", os.O_RDWR | os.O_CLOEXEC)
            os.write(descriptor, b"1")
        except OSError:
            if descriptor is not None:
                os.close(descriptor)
            self._peak = None
        else:
            self._peak = descriptor
        return self._peak is not None

    def _read_peak_of_all(self) -> int | None:
        path = Path(self._folder, "memory.peak")
        return self._files.read_number(str(path)) if path.exists() else None

    def _refuse_forks(self) -> None:
        self._set(f"{self._folder}/pids.max", "0")

    def _watch_memory(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> OomWatch:
        events = os.open(f"{self._folder}/memory.events", os.O_RDONLY | os.O_CLOEXEC)

        def count() -> int:
            return parse_keys(os.pread(events, _EVENTS_BYTES, 0)).get("oom_kill", 0)

        try:
            watch = OomWatch(loop, count, callback)
            watch.resources.callback(os.close, events)
        except OSError:
            os.close(events)
            raise
        try:
            epoll = watch.resources.enter_context(select.epoll())
            epoll.register(events, select.EPOLLPRI)
        except OSError:
            watch.close()
            raise
        watch.listen(epoll.fileno(), lambda: epoll.poll(0))
        return watch
