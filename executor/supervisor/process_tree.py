"""What the processes of a slot use, as /proc tells: where no control group counts it, or while a worker goes on.

A process that has ended is counted by the one that has waited for it. Orphans are waited for by the slot, which is
process 1 of their table; so its count grows with every worker, and what was there before one is taken off. The worker
itself is a child of the template.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

import psutil

__all__ = ["SoFar", "look_at_processes", "look_at_worker", "waited_cpu_s"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class SoFar(NamedTuple):
    """What wait4(2) would tell of a process if it ended now, with the descendants that it has waited for.

    Attributes:
        user_s: CPU seconds, in steps of a tick of the kernel's clock, 10 ms as a rule.
        system_s: The same, spent in the kernel.
        minor_faults: Page faults served without I/O.
        major_faults: Page faults that needed I/O.
        peak_rss_bytes: Largest resident set of the process itself, since it began.
    """

    user_s: float = 0.0
    system_s: float = 0.0
    minor_faults: int = 0
    major_faults: int = 0
    peak_rss_bytes: int = 0


def look_at_worker(pid: int) -> SoFar:
    """Tell what a process has used until now.

    Raises:
        OSError: There is no such process any more.

    Source: proc_pid_stat(5), proc_pid_status(5).
    """
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - for every request of a kept worker
        fields = file.read().rpartition(b")")[2].split()
    minor, waited_minor, major, waited_major, user, system, waited_user, waited_system = map(int, fields[7:15])
    return SoFar(
        user_s=(user + waited_user) / _TICKS,
        system_s=(system + waited_system) / _TICKS,
        minor_faults=minor + waited_minor,
        major_faults=major + waited_major,
        peak_rss_bytes=_read_status(pid, b"VmHWM:"),
    )


def waited_cpu_s(pid: int) -> float:
    """Return the CPU seconds of all that a process has waited for; 0 if there is no such process any more."""
    with contextlib.suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.children_user + times.children_system)
    return 0.0


def look_at_processes(slot_pid: int, worker_pid: int) -> tuple[float, int]:
    """Add up what a worker uses, with all that it has started.

    Args:
        slot_pid: The slot, which has its orphans.
        worker_pid: The worker.

    Returns:
        CPU seconds, with those of orphans of earlier workers that the slot has waited for; bytes of memory. Pages that
        processes have in common since a fork count for each of them.
    """
    cpu_s, memory_bytes = waited_cpu_s(slot_pid), 0  # first: who ends meanwhile must not count twice
    for process in _list_processes(slot_pid, worker_pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu_s += times.user + times.system + times.children_user + times.children_system
            memory = process.memory_info()
            memory_bytes += memory.rss - memory.shared + _read_status(process.pid, b"RssShmem:")
    return cpu_s, memory_bytes


def _list_processes(slot_pid: int, worker_pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        yield from psutil.Process(slot_pid).children(recursive=True)
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(worker_pid)
        yield worker
        yield from worker.children(recursive=True)


def _read_status(pid: int, name: bytes) -> int:
    """Read a size of a process in bytes; RssShmem is shared memory, private files that are mapped included."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
