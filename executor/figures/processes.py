"""What the operating system knows about live workers: CPU, memory, threads, descendants.

It takes milliseconds and belongs in a thread.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from typing import Final

import psutil

from executor.figures.live import LiveWorker

__all__ = ["describe_workers"]

_UNKNOWN: Final = dict.fromkeys(("cpu_s", "cpu_percent", "rss_bytes", "threads", "descendants"))


def describe_workers(workers: tuple[LiveWorker, ...]) -> list[dict[str, object]]:
    """Add the figures of the operating system to live workers.

    A process may end at any moment: its figures are then `None`.

    Returns:
        Plain data for JSON, the oldest first.
    """
    oldest_first = sorted(workers, key=lambda worker: -worker.age_s)
    families = _children_by_parent() if workers else {}
    return [dataclasses.asdict(worker) | _figures(worker.pid, families) for worker in oldest_first]


def _figures(pid: int, families: dict[int, list[int]]) -> dict[str, object]:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            rss_bytes = process.memory_info().rss
            threads = process.num_threads()
            alive_s = time.time() - process.create_time()
    except psutil.Error:
        return dict(_UNKNOWN)
    cpu_s = times.user + times.system
    return {
        "cpu_s": cpu_s,
        "cpu_percent": round(100 * cpu_s / alive_s, 1) if alive_s > 0 else 0.0,
        "rss_bytes": rss_bytes,
        "threads": threads,
        "descendants": _count_descendants(pid, families),
    }


def _children_by_parent() -> dict[int, list[int]]:
    """List the children of every process, by reading the process table once."""
    families: dict[int, list[int]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            families[process.ppid()].append(process.pid)
        except psutil.Error:
            continue
    return families


def _count_descendants(pid: int, families: dict[int, list[int]]) -> int:
    count = 0
    found = list(families.get(pid, ()))
    while found:
        count += 1
        found += families.get(found.pop(), ())
    return count
