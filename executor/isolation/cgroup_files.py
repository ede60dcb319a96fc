"""The small text files of a control group, and the ways to empty and remove a group.

A value is written with one `write` to a file that exists: opening a file to create it would turn "the kernel has
no such file" (ENOENT) into "permission denied".

A process is never signalled by a number that was read from a list, for the number may have passed to another process
meanwhile. It is held by a descriptor, and must be listed once more before it is killed through the descriptor.

Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, "Core Interface Files"; pidfd_open(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = [
    "OpenFiles",
    "kill_processes",
    "list_processes",
    "make_folders",
    "parse_keys",
    "remove_folder",
    "remove_tree",
    "write_text",
]

_READ_SIZE: Final = 65_536
"""More than any file that is read here has."""

_KILL_ROUNDS: Final = 16
"""How often a group is searched for processes that were not killed yet. With forks refused, two rounds suffice."""
_HELD_AT_ONCE: Final = 64
"""Descriptors of processes that are open at the same time."""
_PAUSE_S: Final = 0.005
"""Between two attempts to remove a group whose processes are still ending."""


def write_text(path: str, value: str) -> None:
    """Write a value into a file of a group, at once.

    Raises:
        OSError: The file does not exist, or the kernel refuses the value.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode("ascii"))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)


class OpenFiles:
    """Files that are read and written for every invocation, and so kept open.

    Each read gives what is true then. All methods but `close` raise `OSError` where a file cannot be opened, read or
    written, also once its group is gone.
    """

    def __init__(self) -> None:
        self._descriptors: dict[tuple[str, int], int] = {}

    def read_number(self, path: str) -> int:
        """Read a file that holds one number."""
        return int(self._read(path))

    def read_keys(self, path: str) -> dict[str, int]:
        """Read a file of names and numbers, such as `memory.events`."""
        return parse_keys(self._read(path))

    def write_text(self, path: str, value: str) -> None:
        """Write a value, at once."""
        os.pwrite(self._open(path, os.O_WRONLY), value.encode("ascii"), 0)

    def close(self) -> None:
        """Close all; what is used again is opened again."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _read(self, path: str) -> bytes:
        return os.pread(self._open(path, os.O_RDONLY), _READ_SIZE, 0)

    def _open(self, path: str, mode: int) -> int:
        key = (path, mode)
        descriptor = self._descriptors.get(key)
        if descriptor is None:
            descriptor = self._descriptors[key] = os.open(path, mode | os.O_CLOEXEC)
        return descriptor


def parse_keys(content: bytes) -> dict[str, int]:
    """Take apart lines of a name, a space and a number; lines of another form are left out."""
    pairs = (line.split() for line in content.decode("ascii", "replace").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}  # noqa: PLR2004


def list_processes(folder: str) -> list[int]:
    """List the processes in a group, by their ids here; those of foreign pid namespaces are 0.

    Raises:
        OSError: There is no such group.
    """
    return [int(pid) for pid in Path(folder, "cgroup.procs").read_bytes().split()]


def kill_processes(folders: Iterable[str]) -> None:
    """Send SIGKILL to every process in these groups, without waiting for their ends.

    What they fork meanwhile is found too, unless they fork faster than they are killed: refuse forks first. A
    process that may not be killed stays, and so does the caller. Groups that do not exist are empty.
    """
    for folder in folders:
        killed = {0, os.getpid()}
        for _ in range(_KILL_ROUNDS):
            found = _list_or_nothing(folder) - killed
            if not found:
                break
            pids = sorted(found)
            for start in range(0, len(pids), _HELD_AT_ONCE):
                _kill(folder, pids[start : start + _HELD_AT_ONCE])
            killed |= found


def _kill(folder: str, pids: list[int]) -> None:
    with contextlib.ExitStack() as stack:
        held: dict[int, int] = {}
        for pid in pids:
            with contextlib.suppress(OSError):
                held[pid] = os.pidfd_open(pid)
                stack.callback(os.close, held[pid])
        members = _list_or_nothing(folder)
        for pid, descriptor in held.items():
            if pid in members:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _list_or_nothing(folder: str) -> set[int]:
    try:
        return set(list_processes(folder))
    except OSError:
        return set()


def make_folders(folders: Iterable[str]) -> None:
    """Make a group in several hierarchies, or in none.

    Raises:
        OSError: One of them exists, or cannot be made.
    """
    made: list[str] = []
    try:
        for folder in folders:
            os.mkdir(folder)  # noqa: PTH102 - thrice as fast as Path.mkdir
            made.append(folder)
    except OSError:
        for folder in made:
            remove_folder(folder)
        raise


def remove_folder(folder: str) -> None:
    """Remove one group; it may be gone already.

    Raises:
        OSError: It is busy (EBUSY) as long as there are processes or groups in it, or it may not be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(folder)  # noqa: PTH106 - thrice as fast as Path.rmdir


def remove_tree(folder: str, *, patience_s: float) -> bool:
    """Kill all processes in a group and in the groups below it, and remove them all.

    Args:
        folder: The uppermost group to remove.
        patience_s: For how long it blocks at most, waiting for processes to end.

    Returns:
        Whether the group is gone.
    """
    deadline = time.monotonic() + patience_s
    while True:
        busy = False
        for inner, _, _ in os.walk(folder, topdown=False):
            try:
                kill_processes([inner])
                remove_folder(inner)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    return False
                busy = True
        if not busy:
            return not Path(folder).exists()
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE_S)
