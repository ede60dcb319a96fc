"""The private files of workers: a file system in memory, a new one for each.

Theory of operation
-------------------
The slot mounts it; the worker, which may not mount anything, finds it. When a worker has ended, and all that it has
started, the file system is replaced by an empty one, before the end is reported: its memory counts for no other worker.
To use one again that looks empty is no gain worth having. What was ever done in it shows: in the numbers of its inodes,
which go up with every file, also one without a name; in the times of the folder, of which some are set by reading.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from worker.lockdown.calls import MS_BIND, MS_NODEV, MS_NOSUID, MS_REC, mount, umount
from worker.user_namespace import WORKER_ID
from worker.view import SCRATCH

__all__ = ["Scratch"]

_SIZE: Final = "scratch_size"
_FILES: Final = "scratch_files"


class Scratch:
    """What is mounted on SCRATCH, in this mount namespace.

    What the view shows below SCRATCH, such as a plugin that is there on the host, is shown in it, too.

    Raises:
        OSError: The kernel refused.
    """

    def __init__(self) -> None:
        self._covered: Final = os.open(SCRATCH, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._shown: Final = os.listdir(SCRATCH)
        self._options: str | None = None

    @property
    def descriptor(self) -> int:
        """What must not be closed."""
        return self._covered

    def provide(self, limits: Mapping[str, int]) -> None:
        """Have an empty one there for the next worker.

        Args:
            limits: `scratch_size` in bytes, and `scratch_files`; what is not named is not limited.

        Raises:
            OSError: The kernel refused.
        """
        options = self._make_options(limits)
        if options != self._options:
            self._replace(options)

    def renew(self) -> None:
        """Replace the one that a worker has had by an empty one, with the same limits.

        Raises:
            OSError: The kernel refused.
        """
        if self._options is not None:
            self._replace(self._options)

    def _replace(self, options: str) -> None:
        if self._options is not None:
            self._options = None
            umount(SCRATCH)
        mount("scratch", SCRATCH, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=options)
        if self._shown:
            os.fchdir(self._covered)  # not by way of /proc: process 1 would be found there from then on
            for name in self._shown:
                os.mkdir(f"{SCRATCH}/{name}")
                mount(name, f"{SCRATCH}/{name}", None, flags=MS_BIND | MS_REC)
            os.chdir("/")
        self._options = options

    def _make_options(self, limits: Mapping[str, int]) -> str:
        options = f"mode=1777,uid={WORKER_ID},gid={WORKER_ID}"
        if _SIZE in limits:
            options += f",size={max(limits[_SIZE], 1)}"  # tmpfs(5): 0 is no limit, 1 is a page
        if _FILES in limits:
            options += f",nr_inodes={limits[_FILES] + 1 + len(self._shown)}"  # its root is one, too
        return options
