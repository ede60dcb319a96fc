"""The private files of workers: a file system in memory that no two of them share.

Theory of operation
-------------------
The slot mounts it; the worker, which may not mount anything, finds it. When a worker has gone, the next one gets the
same one only if nothing was ever made or changed in it: the numbers of its inodes go up with every file, so a file of
the slot's own tells by its number whether there was any other; and what happens to the root folder itself shows in
the time of its last change, which nobody can set. Otherwise it is replaced by an empty one.
"""

from __future__ import annotations

import os
from typing import Final

from worker.birth import WORKER_ID
from worker.lockdown.calls import MS_BIND, MS_NODEV, MS_NOSUID, MS_REC, mount, umount
from worker.view import SCRATCH

__all__ = ["Scratch"]

_Marks = tuple[int, int]


class Scratch:
    """What is mounted on SCRATCH, in this mount namespace.

    What the view shows below SCRATCH, such as a plugin that is there on the host, is shown in it, too.

    Raises:
        OSError: The kernel refused.
    """

    def __init__(self) -> None:
        self._covered: Final = os.open(SCRATCH, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._shown: Final = os.listdir(SCRATCH)
        self._sizes: tuple[int, int] | None = None
        self._marks: _Marks = (0, 0)

    @property
    def descriptor(self) -> int:
        """What must not be closed."""
        return self._covered

    def provide(self, size: int, files: int) -> None:
        """Have an empty one there, of a size in bytes, for so many files.

        Raises:
            OSError: The kernel refused.
        """
        if self._sizes is not None:
            if self._sizes == (size, files) and self._is_untouched():
                return
            self._sizes = None
            umount(SCRATCH)
        inodes = files + 1 + len(self._shown) + 1  # its root, and our own file
        options = f"mode=1777,uid={WORKER_ID},gid={WORKER_ID},size={max(size, 1)},nr_inodes={inodes}"
        mount("scratch", SCRATCH, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=options)
        for name in self._shown:
            os.mkdir(f"{SCRATCH}/{name}")
            mount(f"/proc/self/fd/{self._covered}/{name}", f"{SCRATCH}/{name}", None, flags=MS_BIND | MS_REC)
        self._marks = _read_marks()
        self._sizes = (size, files)

    def _is_untouched(self) -> bool:
        number, changed = self._marks
        try:
            self._marks = _read_marks()
        except OSError:
            return False  # no room for one more file
        return self._marks == (number + 1, changed)


def _read_marks() -> _Marks:
    """The number of a file made now, which is gone at once, and when the root folder was changed, in nanoseconds."""
    descriptor = os.open(SCRATCH, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0)
    try:
        return os.fstat(descriptor).st_ino, os.stat(SCRATCH).st_ctime_ns
    finally:
        os.close(descriptor)
