"""The group of one slot: what both versions of control groups have in common.

A slot and its workers share a group, one worker after another: making a group is cheap, but moving a process into it
is not, so a worker is born where its slot lives. What a slot itself needs is added to the limits, and what it uses is
part of the usage.

Nothing here waits: each call reads or writes a few small files.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from executor.isolation.cgroup_files import OpenFiles, kill_processes, remove_folder, write_text
from executor.isolation.cgroup_oom import OomWatch

__all__ = [
    "CPU_PERIOD_US",
    "SLOT_MEMORY_BYTES",
    "SLOT_PROCESSES",
    "ControlGroup",
    "Counters",
    "GroupUsage",
    "cpu_quota_us",
]

log = structlog.get_logger("executor.control_groups")

SLOT_MEMORY_BYTES: Final = 16 * 1024 * 1024
"""Added to a worker's limit: 5 to 10 MiB of private pages of slot and template, and the kernel's own for all three."""
SLOT_PROCESSES: Final = 2
"""Added to a worker's limit: the slot itself, and its template."""
CPU_PERIOD_US: Final = 100_000
"""The kernel's default: a group that has used up its share waits at most this long."""

_SMALLEST_QUOTA_US: Final = 1000
"""The kernel refuses less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUsage:
    """What a group has used since it was reset, the slot's own part included.

    Attributes:
        cpu_s: Seconds of CPU time; `None` where the host does not count it for groups.
        cpu_system_s: The part of it that was spent in the kernel; `None` where that is not counted apart.
        memory_bytes: What is charged now: memory, files in memory, and the kernel's own for these processes.
        memory_peak_bytes: The highest of it; `None` where the kernel cannot tell for this period.
        oom_kills: Processes that the kernel killed for want of memory; where it kills all of a group, it may count
            the first of them twice.
        fork_refusals: How often a new process or thread was refused.
    """

    cpu_s: float | None
    cpu_system_s: float | None
    memory_bytes: int
    memory_peak_bytes: int | None
    oom_kills: int
    fork_refusals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the kernel has counted since a group was made; the same words as in `GroupUsage`."""

    cpu_s: float | None = None
    cpu_system_s: float | None = None
    oom_kills: int = 0
    fork_refusals: int = 0


class ControlGroup(ABC):
    """The group of one slot; not for use by several threads.

    Args:
        name: Of its folder, in each hierarchy.
        folders: Absolute, one in each hierarchy; they exist.
    """

    def __init__(self, name: str, folders: tuple[str, ...]) -> None:
        self.name = name
        self.folders = folders
        self._files = OpenFiles()
        self._written: dict[str, str] = {}
        self._before = Counters()
        self._watch: OomWatch | None = None

    @property
    def counts_cpu(self) -> bool:
        """Whether `usage` tells CPU time, since `reset`."""
        return self._before.cpu_s is not None

    def open_procs(self) -> list[int]:
        """Open the files, one in each hierarchy, by which a process joins: it writes `0` into each.

        The kernel asks whether the one who opened a file may move processes, not the one who writes.

        Returns:
            Descriptors for writing, not inherited by programs. The caller owns them.

        Raises:
            OSError: The group is gone, or no descriptors are left.
        """
        opened: list[int] = []
        try:
            for folder in self.folders:
                opened.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 - closed
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    @abstractmethod
    def apply(self, *, memory_bytes: int, processes: int, cpu_share: float) -> None:
        """Set the limits of the next worker; what the slot needs is added. Only what has changed is written.

        Args:
            memory_bytes: For all processes together, with their files in memory. None of it is swapped out.
            processes: Processes and threads.
            cpu_share: CPUs' worth of time, 1.0 for one CPU; ignored where `cpu` is not among the controllers.

        Raises:
            OSError: The kernel refuses, such as EBUSY when more memory than that is in use. Limits may then be
                set in part; do not use the group before this has succeeded.
        """

    def reset(self) -> None:
        """Begin a new period for `usage`.

        Raises:
            OSError: The group is gone.
        """
        self._before = self._count()
        self._reset_peak()

    def usage(self) -> GroupUsage:
        """Tell what was used since `reset`, or since the group was made.

        Raises:
            OSError: The group is gone.
        """
        before, now = self._before, self._count()
        return GroupUsage(
            cpu_s=_since(before.cpu_s, now.cpu_s),
            cpu_system_s=_since(before.cpu_system_s, now.cpu_system_s),
            memory_bytes=self._read_memory(),
            memory_peak_bytes=self._read_peak(),
            oom_kills=now.oom_kills - before.oom_kills,
            fork_refusals=now.fork_refusals - before.fork_refusals,
        )

    def on_out_of_memory(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        """Have a function called in the event loop whenever the kernel kills processes here for want of memory.

        Version 2 kills all that is in the group, the slot too. Version 1 kills one process: the whole worker is
        then for the caller to end. The function may be called more than once, and may remove the group.

        Args:
            loop: Its `add_reader` is used.
            callback: Replaces the one that was given before.

        Raises:
            OSError: The group is gone, or no descriptors are left.
        """
        if self._watch is None:
            self._watch = self._watch_memory(loop, callback)
        else:
            self._watch.callback = callback

    @abstractmethod
    def unthrottle(self) -> None:
        """Lift the limit of CPU time, so that processes that were killed can end; `apply` sets it again.

        Raises:
            OSError: The group is gone.
        """

    def kill(self) -> None:
        """Send SIGKILL to all that is in the group, the slot included, and refuse forks until `apply`.

        Nothing is waited for. Whoever ends a worker and keeps its slot does that by the slot.
        """
        try:
            self._refuse_forks()
        except OSError:
            log.debug("control_groups.forks_not_refused", group=self.name)
        kill_processes(self.folders)

    def remove(self) -> None:
        """Remove the group from all hierarchies; what is gone already is fine.

        Raises:
            OSError: Some of it could not be removed, such as EBUSY while processes are ending. Call again.
        """
        self.release()
        failure = None
        for folder in self.folders:
            try:
                remove_folder(folder)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure

    def release(self) -> None:
        """Close the descriptors that are held for the group; the group stays."""
        self._stop_watching()
        self._files.close()

    @abstractmethod
    def _count(self) -> Counters: ...

    @abstractmethod
    def _read_memory(self) -> int: ...

    @abstractmethod
    def _read_peak(self) -> int | None: ...

    @abstractmethod
    def _reset_peak(self) -> None: ...

    @abstractmethod
    def _watch_memory(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> OomWatch: ...

    @abstractmethod
    def _refuse_forks(self) -> None: ...

    def _set(self, path: str, value: str) -> None:
        """Write a value, unless it is the one that was written last."""
        if self._written.get(path) != value:
            self._written.pop(path, None)
            write_text(path, value)
            self._written[path] = value

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def _since(before: float | None, now: float | None) -> float | None:
    return None if now is None else max(0.0, now - (before or 0.0))


def cpu_quota_us(cpu_share: float) -> int:
    """Turn a number of CPUs into microseconds of CPU time for each period."""
    return max(_SMALLEST_QUOTA_US, round(cpu_share * CPU_PERIOD_US))
