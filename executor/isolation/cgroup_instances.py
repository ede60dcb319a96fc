"""The names of this program's control groups, by which a later start finds those that nobody uses any more.

    endpoint-executor-<pid>-<start>-<namespace>-<number>[-supervisor]

A process id alone does not tell whether a supervisor still runs: it may have passed to another process, or belong to
another pid namespace. `start` is the time when the process began, in clock ticks since the boot; `namespace` is the
number of the pid namespace in which the id holds. Groups of other namespaces, such as those of a container whose
groups the host sees, are left alone. `number` tells apart what one process opens.

Source: proc_pid_stat(5), fields 3 and 22; namespaces(7), "The /proc/pid/ns/ directory".
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from executor.isolation.cgroup_files import remove_tree

__all__ = ["SUPERVISOR_SUFFIX", "find_ended", "instance_name", "is_running", "remove_ended"]

SUPERVISOR_SUFFIX: Final = "-supervisor"
"""Marks the group that a supervisor moves itself to."""

_NAME: Final = re.compile(r"(endpoint-executor-([0-9]+)-([0-9]+)-([0-9]+)-[0-9]+)(?:-supervisor)?")
_STATE_FIELD: Final = 0
_START_FIELD: Final = 19
"""Places of `state` and `starttime`, fields 3 and 22, among those after the command's name, which is the second."""
_SWEEP_PATIENCE_S: Final = 1.0

_numbers: Final = itertools.count(1)


def instance_name() -> str:
    """Make a new name for the groups of this process.

    Raises:
        OSError: /proc is not mounted.
    """
    pid = os.getpid()
    return f"endpoint-executor-{pid}-{_read_start(pid)}-{_pid_namespace()}-{next(_numbers)}"


def is_running(name: str) -> bool:
    """Whether the supervisor that made this name may still run; also true of names that are none of ours.

    Raises:
        OSError: /proc is not mounted.
    """
    match = _NAME.fullmatch(name)
    if match is None or int(match[4]) != _pid_namespace():
        return True
    return _read_start(int(match[2])) == int(match[3])


def find_ended(parent: str) -> list[str]:
    """List the groups in a folder that belonged to supervisors that have ended.

    Raises:
        OSError: /proc is not mounted.
    """
    try:
        with os.scandir(parent) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []
    return [name for name in names if not is_running(name)]


def remove_ended(parents: Iterable[str]) -> int:
    """Remove the groups of ended supervisors in these folders, and kill what is left in them.

    Returns:
        How many instances were removed.

    Raises:
        OSError: /proc is not mounted.
    """
    removed = set()
    for parent in parents:
        for name in find_ended(parent):
            if remove_tree(f"{parent}/{name}", patience_s=_SWEEP_PATIENCE_S):
                removed.add(name.removesuffix(SUPERVISOR_SUFFIX))
    return len(removed)


def _read_start(pid: int) -> int | None:
    """Read when a process was started; `None` when there is none, or only what its parent has not waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE_FIELD] in {b"Z", b"X"} else int(fields[_START_FIELD])


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
