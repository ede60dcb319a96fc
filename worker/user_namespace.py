"""User namespaces: who enters one, which ids it has there, and who writes that down.

Who enters a user namespace cannot say by itself which ids of the outside it stands for, unless it is one's own; a
process that stays outside writes the maps. A `Mapper` is both sides of that conversation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import close, read, write
from typing import Final

from worker.delivery import BirthError, blame, wait_readable
from worker.lockdown.calls import CLONE_NEWNS, CLONE_NEWUSER, set_dumpable, unshare

__all__ = ["WORKER_ID", "IdBlock", "Mapper", "become_root_of_own_namespace", "lock_mounts", "write_maps"]

WORKER_ID: Final = 1000
"""User and group of a worker, as it sees itself."""

_ASK: Final = b"?"
_DONE: Final = b"!"


@dataclass(frozen=True, slots=True)
class IdBlock:
    """Host ids that workers may have: `count` of them from `first` on; none when not running as root."""

    first: int
    count: int

    def zygote_map(self) -> str:
        """What the zygote's user namespace maps, when the parent has the host's ids."""
        return f"0 {self.first} {self.count}"

    def slot_map(self, number: int) -> str:
        """What a slot's user namespace maps, when the parent is a zygote: its own id 0, and its workers'."""
        if not self.count:
            return f"{WORKER_ID} 0 1"
        own = 1 + 2 * number
        if own + 1 >= self.count:
            raise BirthError(f"user_namespace: slot {number} is beyond the {self.count} ids of isolation.ids")
        return f"0 {own} 1\n{WORKER_ID} {own + 1} 1"


class Mapper:
    """Lets a process outside write the maps of the user namespace that this process enters.

    Raises:
        OSError: No descriptors left.
    """

    def __init__(self) -> None:
        self._answers_r = self._answers_w = -1
        self._asks_r, self._asks_w = os.pipe2(os.O_CLOEXEC)
        try:
            self._answers_r, self._answers_w = os.pipe2(os.O_CLOEXEC)
        except OSError:
            self.close()
            raise

    @property
    def descriptors(self) -> set[int]:
        """What the process inside must not close before it has entered."""
        return {self._asks_w, self._answers_r}

    def enter(self, *, as_root: bool) -> None:
        """Inside: make a user namespace, have it mapped, and take its id 0 if it has one."""
        with blame("user_namespace"):
            set_dumpable(True)  # otherwise the files of this process in /proc are the host's root's
            unshare(CLONE_NEWUSER)
            write(self._asks_w, _ASK)
            if read(self._answers_r, 1) != _DONE:
                raise OSError(0, "the parent could not map any ids")
            if as_root:
                os.setgroups(())
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)

    def wait_and_map(self, pid: int, map_text: str, *, groups: bool) -> None:
        """Outside: wait for `enter`, and write the maps of process `pid`. Let go of it otherwise."""
        try:
            if wait_readable(self._asks_r) and read(self._asks_r, 1) == _ASK:
                write_maps(pid, map_text, groups=groups)
                write(self._answers_w, _DONE)
        finally:
            self.close()

    def leave_to_inside(self) -> None:
        """Outside: close the ends that are the inside's."""
        close(self._asks_w)
        close(self._answers_r)
        self._asks_w = self._answers_r = -1

    def close(self) -> None:
        """Close what is still open."""
        for descriptor in (self._asks_r, self._asks_w, self._answers_r, self._answers_w):
            if descriptor >= 0:
                close(descriptor)


def write_maps(pid: int | str, map_text: str, *, groups: bool) -> None:
    """Write the maps of users and groups of a process that has just entered a user namespace."""
    if not groups:
        _write_file(f"/proc/{pid}/setgroups", "deny")
    _write_file(f"/proc/{pid}/uid_map", map_text)
    _write_file(f"/proc/{pid}/gid_map", map_text)


def become_root_of_own_namespace() -> None:
    """Enter a user namespace in which this process is root, and that has no id but its own.

    Raises:
        OSError: The kernel refused.
    """
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    _write_file("/proc/self/setgroups", "deny")
    _write_file("/proc/self/uid_map", f"0 {uid} 1")
    _write_file("/proc/self/gid_map", f"0 {gid} 1")


def lock_mounts() -> None:
    """Enter a user and a mount namespace in which nobody can change what is mounted by now, whatever rights it has.

    Raises:
        BirthError: The kernel refused.
    Source: mount_namespaces(7), "Restrictions on mount namespaces".
    """
    with blame("user_namespace"):
        become_root_of_own_namespace()
    with blame("mount_namespace"):
        unshare(CLONE_NEWNS)


def _write_file(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write(descriptor, text.encode())
    finally:
        close(descriptor)
