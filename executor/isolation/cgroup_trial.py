"""Finds out whether control groups work, by using them once in the way a slot will."""

from __future__ import annotations

import errno
import os
import select
import signal
import warnings
from typing import Final, NoReturn

from executor.isolation.cgroup_files import remove_tree
from executor.isolation.cgroup_groups import ControlGroups
from executor.isolation.cgroup_refusals import RefusedError, explain

__all__ = ["try_out"]

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
    """Fork a process that joins a group by its open files, and await its end.

    It is forked, not executed, for this user need not be able to execute this program.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about other threads: the child needs nothing of theirs
        pid = os.fork()
    if pid == 0:
        _join_and_exit(descriptors)
    ended = _await_end(pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ended:
        reason = f"cgroup {version}: a process did not join a group within {_TIME_LIMIT_S:g} s"
        raise RefusedError(reason, "see whether the group of the executor is frozen")
    if status != 0:
        raise explain(OSError(abs(status), os.strerror(abs(status))), version, "have a process join a new group")


def _join_and_exit(descriptors: list[int]) -> NoReturn:
    status = errno.EINTR
    try:
        for descriptor in descriptors:
            os.write(descriptor, b"0")
        status = 0
    except OSError as error:
        status = error.errno or status
    finally:
        os._exit(status)


def _await_end(pid: int) -> bool:
    """Wait for the end of a child, for a while; whether it has ended."""
    process = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        return bool(poll.poll(_TIME_LIMIT_S * 1000))
    finally:
        os.close(process)
