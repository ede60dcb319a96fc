"""What a tree of processes has used, and the memory of one process, as the kernel tells it in /proc.

When a process has been waited for, what it used is added to its parent's `children` figures. So the sum of own and
children's figures over all live processes of a tree counts everything that ever ran in it, once, as long as each is
waited for by another of the tree. It is exact when nothing ends while it is being read; `settle` waits for such a time.

Source: proc_pid_stat(5), proc_pid_smaps(5).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Usage", "parse_stat", "processes_below", "proportional_bytes", "settle", "tree_bytes", "tree_usage"]

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
SETTLE_PAUSE_S: Final = 0.15
SETTLE_MOST_S: Final = 5.0
KIB: Final = 1024
SAMPLE_MOST: Final = 32
"""Processes of one name that are looked at: to look at one takes the kernel a millisecond, which streams would feel."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used, children that were waited for included.

    Attributes:
        cpu_s: Processor time, user and system.
        minor_faults: Page faults that needed no reading.
    """

    cpu_s: float = 0.0
    minor_faults: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu_s + other.cpu_s, self.minor_faults + other.minor_faults)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu_s - other.cpu_s, self.minor_faults - other.minor_faults)


def parse_stat(text: str) -> tuple[str, int, Usage]:
    """Read a line of /proc/PID/stat.

    Returns:
        Name of the process, id of its parent, what it has used.
    """
    name = text[text.index("(") + 1 : text.rindex(")")]  # it may hold blanks and brackets
    fields = text[text.rindex(")") + 2 :].split()  # from the third on: state, ppid, ...
    minor_faults = int(fields[7]) + int(fields[8])
    return name, int(fields[1]), Usage(sum(map(int, fields[11:15])) * TICK_S, minor_faults)


def processes_below(root: int) -> dict[int, tuple[str, Usage]]:
    """Return the live processes of a tree, the root included, by process id: name and usage."""
    known = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                known[int(entry.name)] = parse_stat(Path(entry.path, "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
    below = {root}
    size = 0
    while size != len(below):
        size = len(below)
        below |= {pid for pid, (_, parent, _) in known.items() if parent in below}
    return {pid: (known[pid][0], known[pid][2]) for pid in below if pid in known}


def tree_usage(root: int) -> Usage:
    """Sum up what a tree has used."""
    return sum((usage for _, usage in processes_below(root).values()), Usage())


def settle(root: int) -> Usage:
    """Wait until a tree does nothing any more, for some seconds at most; what it has used."""
    last = tree_usage(root)
    quiet = 0
    for _ in range(int(SETTLE_MOST_S / SETTLE_PAUSE_S)):
        time.sleep(SETTLE_PAUSE_S)
        now = tree_usage(root)
        quiet = quiet + 1 if now.cpu_s - last.cpu_s <= TICK_S and now.minor_faults - last.minor_faults < 50 else 0
        last = now
        if quiet == 2:
            break
    return last


def proportional_bytes(pid: int) -> int:
    """Return the PSS of a process: its own memory, and its share of what it shares with others.

    Raises:
        OSError: There is no such process, or we may not look at it.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * KIB
    raise OSError(f"the kernel tells no PSS of process {pid}")


def tree_bytes(root: int) -> int:
    """Sum up the PSS of a tree; of many processes with the same name, from a sample of them."""
    by_name: dict[str, list[int]] = {}
    for pid, (name, _) in sorted(processes_below(root).items()):
        by_name.setdefault(name.partition(" ")[0], []).append(pid)
    total = 0.0
    for pids in by_name.values():
        sizes = []
        for pid in pids[:: -(-len(pids) // SAMPLE_MOST)]:
            with contextlib.suppress(OSError):  # it has ended
                sizes.append(proportional_bytes(pid))
        if sizes:
            total += sum(sizes) / len(sizes) * len(pids)
    return round(total)
