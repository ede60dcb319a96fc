"""How much of the disk a build has used, looked at again and again while it runs.

There is no quota that every file system and every user has. So it is counted, as often as counting is cheap; what is
written between two looks is bounded by the speed of the disk. Files without a name are not counted: for them, and for
everything else, a build ends when the file system is nearly full, and with the build all that it has written.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from executor.config.environments import BuildLimits
from executor.environments.errors import BuildError

__all__ = ["DiskWatch", "measure_folder"]

BLOCK: Final = 512
PAUSE_S: Final = 0.25
PAUSE_FACTOR: Final = 5
"""A look may take a sixth of the time, and no more."""

STOP_COUNTING: Final = 2
"""Counting ends at twice the limit of files."""


class DiskWatch:
    """Looks at a folder that a build writes to.

    Args:
        folder: With everything below it.
        limits: Of the build.
    """

    def __init__(self, folder: Path, limits: BuildLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._next = 0.0

    def check(self, now: float) -> None:
        """Look, if it is time.

        Args:
            now: Of the monotonic clock.

        Raises:
            BuildError: A limit was reached.
        """
        if now < self._next:
            return
        limits = self._limits
        try:
            size, files = measure_folder(self._folder, most_files=STOP_COUNTING * limits.files)
        except PermissionError as error:  # of a user's own build; root counts whatever there is
            raise BuildError(f"it made a folder that cannot be counted (environments.limits.disk): {error}") from error
        took = time.monotonic() - now
        self._next = now + took + max(PAUSE_S, PAUSE_FACTOR * took)
        if size > limits.disk:
            raise BuildError(f"it wrote more than {limits.disk} bytes (environments.limits.disk)")
        if files > limits.files:
            raise BuildError(f"it made more than {limits.files} files (environments.limits.files)")
        status = os.statvfs(self._folder)
        free = status.f_bavail * status.f_frsize
        if free < limits.free_disk:
            raise BuildError(
                f"the file system of {self._folder.parent} has only {free} bytes left (environments.limits.free_disk)"
            )


def measure_folder(folder: Path, *, most_files: int) -> tuple[int, int]:
    """Count the bytes on disk of everything below a folder, and the entries; no link is followed.

    Args:
        folder: What disappears meanwhile is not counted.
        most_files: Counting ends at so many entries.

    Returns:
        (bytes, entries).

    Raises:
        PermissionError: A folder in it cannot be read.
    """
    size = files = 0
    for status in _statuses(os.fspath(folder)):
        size += status.st_blocks * BLOCK // max(1, status.st_nlink if not _is_folder(status) else 1)
        files += 1
        if files > most_files:
            break
    return size, files


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def _statuses(folder: str) -> Iterator[os.stat_result]:
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    try:
                        yield entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                    except PermissionError:
                        raise
                    except OSError:
                        continue
        except PermissionError:
            raise
        except OSError:
            continue
