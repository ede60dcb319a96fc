"""Finds out whether control groups work, by using them once in the way a slot will."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from executor.isolation.cgroup_files import remove_tree
from executor.isolation.cgroup_groups import ControlGroups
from executor.isolation.cgroup_refusals import RefusedError, explain

__all__ = ["try_out"]

_JOIN: Final = "import os, sys; [os.write(int(descriptor), b'0') for descriptor in sys.argv[1:]]; os._exit(0)"
_MEMORY_BYTES: Final = 64 * 1024 * 1024
_TIME_LIMIT_S: Final = 30.0
"""Joining takes milliseconds; a process whose group is frozen takes for ever."""
_REMOVAL_PATIENCE_S: Final = 1.0


def try_out(groups: ControlGroups) -> None:
    """Make a group, limit it, and have a process join it.

    Raises:
        RefusedError: Something of it does not work.
    """
    group = groups.create_group("trial")
    try:
        group.apply(memory_bytes=_MEMORY_BYTES, processes=1, cpu_share=1.0)
        group.reset()
        descriptors = group.open_procs()
        try:
            _join(groups.version, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        group.usage()
    except OSError as error:
        raise explain(error, groups.version, f"limit the group {group.folders[0]} ({error.filename})") from error
    finally:
        group.release()
        for folder in group.folders:
            remove_tree(folder, patience_s=_REMOVAL_PATIENCE_S)


def _join(version: str, descriptors: list[int]) -> None:
    """Start a process that joins a group by its open files, and await its end."""
    command = [sys.executable, "-I", "-S", "-c", _JOIN, *map(str, descriptors)]
    try:
        done = subprocess.run(
            command,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIME_LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"cgroup {version}: a process did not join a group within {_TIME_LIMIT_S:g} s"
        raise RefusedError(reason, "see whether the group of the executor is frozen") from error
    if done.returncode != 0:
        last = (done.stderr.decode("utf-8", "replace").splitlines() or [f"exit status {done.returncode}"])[-1]
        reason = f"cgroup {version}: a process cannot join a new group: {last}"
        raise RefusedError(reason, "see cgroups(7) for what this kernel and this mount allow")
