"""The numbering of processes in a table of our own: the kernel tells the last number that it gave, and lets us set it.

Source: `ns_last_pid` in proc_sys_kernel(5); it takes a kernel with CONFIG_CHECKPOINT_RESTORE.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["Numbering", "open_numbering"]

_LAST_PID: Final = "/proc/sys/kernel/ns_last_pid"
_LONGEST: Final = 16
"""Bytes of a number, with the end of its line."""


class Numbering:
    """The numbering of the table that this process is in.

    Args:
        descriptor: Of the file that tells and sets it; None where there is none.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def last(self) -> int | None:
        """The number that was given last, to a process or a thread; None where that cannot be told."""
        if self._descriptor is None:
            return None
        try:
            return int(os.pread(self._descriptor, _LONGEST, 0))
        except (OSError, ValueError):
            return None

    def go_on_after(self, number: int) -> bool:
        """Have the next process get the number after this one, or the first that is free; whether that is possible."""
        if self._descriptor is None:
            return False
        try:
            os.pwrite(self._descriptor, b"%d" % number, 0)
        except OSError:
            return False
        return True


def open_numbering() -> int | None:
    """Open the file that tells and sets the numbering of processes, if it is there."""
    try:
        return os.open(_LAST_PID, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
