"""What the processes of a slot use, as /proc tells: where no control group counts it.

A process that has ended is counted by the one that has waited for it. Orphans are waited for by the slot, which is
process 1 of their table; so its count grows with every worker, and what was there before one is taken off. The worker
itself is a child of the template.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

__all__ = ["look_at_processes", "waited_cpu_s"]


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
            memory_bytes += memory.rss - memory.shared + _shared_memory(process.pid)
    return cpu_s, memory_bytes


def _list_processes(slot_pid: int, worker_pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        yield from psutil.Process(slot_pid).children(recursive=True)
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(worker_pid)
        yield worker
        yield from worker.children(recursive=True)


def _shared_memory(pid: int) -> int:
    """Bytes of shared memory, private files that are mapped included, in a process (proc_pid_status(5), RssShmem)."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"RssShmem:"):
                return int(line.split()[1]) * 1024
    return 0
