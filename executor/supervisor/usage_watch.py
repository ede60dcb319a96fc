"""Watches what a running worker, with all its processes, uses of the processor and, without control groups, of memory.

A control group says what it has used; otherwise every process of the slot is looked at, in a thread, which costs more
and sees less: memory that is taken and given back between two looks, or that no process has mapped, and the processor
time of those who have ended and whom nobody had to wait for, because their parent ignores SIGCHLD.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from executor.config.limits import Limits
from executor.outcome import Outcome
from executor.supervisor.control import Child
from executor.supervisor.process_tree import look_at_processes
from executor.supervisor.slots import Slot

__all__ = ["CPU_PAUSE_S", "TREE_PAUSE_S", "UsageWatch"]

CPU_PAUSE_S: Final = 0.25
"""Between two looks at a control group."""

TREE_PAUSE_S: Final = 0.1
"""Between two looks at all processes: the shortest that keeps a supervisor with 32 workers usable."""


class UsageWatch:
    """Calls `exceeded` once, when the worker in a slot has used more than it may.

    Args:
        slot: Where the worker is.
        child: The worker, whose process id may become known later.
        limits: `cpu_time`, and `memory` where no control group bounds it.
        exceeded: Told which limit, and its value for people.
    """

    def __init__(self, slot: Slot, child: Child, limits: Limits, exceeded: Callable[[Outcome, str], object]) -> None:
        self._slot = slot
        self._child = child
        self._limits = limits
        self._exceeded: Callable[[Outcome, str], object] | None = exceeded
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        if slot.group is not None:
            slot.group.on_out_of_memory(self._loop, self._on_out_of_memory)
        self._arm()

    def stop(self) -> None:
        """Watch no more; the slot's group may know us until its next worker, and nobody through us."""
        self._exceeded = None
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()

    def _arm(self) -> None:
        pause = CPU_PAUSE_S if self._slot.group is not None else TREE_PAUSE_S
        self._timer = self._loop.call_later(pause, self._check)

    def _check(self) -> None:
        if self._exceeded is None:
            return
        cpu_s = self._counted_cpu_s()
        if cpu_s is not None:
            self._judge(cpu_s=cpu_s, memory_bytes=0)
        elif self._slot.client.pid is not None and self._child.pid is not None:
            self._look = self._loop.create_task(self._check_tree(self._slot.client.pid, self._child.pid))
        else:
            self._arm()

    def _counted_cpu_s(self) -> float | None:
        """What the control group has counted; None where there is none that counts."""
        if self._slot.group is None:
            return None
        try:
            return self._slot.group.usage().cpu_s
        except OSError:
            return 0.0  # the slot has ended meanwhile

    async def _check_tree(self, slot_pid: int, pid: int) -> None:
        try:
            cpu_s, memory_bytes = await asyncio.to_thread(look_at_processes, slot_pid, pid)
        except OSError:  # no descriptor is left to look; perhaps there will be
            cpu_s, memory_bytes = self._slot.cpu_before_s, 0
        if self._exceeded is not None:
            cpu_s -= self._slot.cpu_before_s
            self._judge(cpu_s=cpu_s, memory_bytes=memory_bytes if self._slot.group is None else 0)

    def _judge(self, *, cpu_s: float, memory_bytes: int) -> None:
        if memory_bytes > self._limits.memory:
            self._on_out_of_memory()
        elif cpu_s > self._limits.cpu_time:
            self._tell(Outcome.TIMEOUT_CPU, f"limit {self._limits.cpu_time:g} s of processor time")
        else:
            self._arm()

    def _on_out_of_memory(self) -> None:
        self._tell(Outcome.LIMIT_MEMORY, f"limit {self._limits.memory} bytes")

    def _tell(self, outcome: Outcome, detail: str) -> None:
        exceeded = self._exceeded
        if exceeded is not None:
            self.stop()
            exceeded(outcome, detail)
