"""Copies of a plugin's folder, so that what is served stays as it was found good while its author goes on writing.

A worker imports its source when it is made. Served from the folder itself, a half-written file would be in force at
once, and there would be no last good state to go back to. So every state is copied before it is looked at; requests run
from the copy, and a copy is kept for a while after its successor is in force, for requests that still run.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from executor.authoring.project import LOCAL_SETTINGS
from executor.catalog.digest import SKIPPED, compute_digest
from executor.errors import ExecutorError

__all__ = ["SnapshotError", "Snapshots", "look"]

KEPT: Final = 8
"""Copies that are kept, the newest included."""

MAX_BYTES: Final = 256 * 1024**2
"""Largest folder: five times what Dify takes as a package."""

MAX_ENTRIES: Final = 20_000

LOCK: Final = "lock"

MAX_LOOKED_AT: Final = 2000
"""Files and folders that are looked at for each request; some milliseconds."""


class SnapshotError(ExecutorError):
    """The folder cannot be copied; the text says why and what to do."""

    code = "dev.snapshot"


class Snapshots:
    """Copies of one folder. Close it.

    Args:
        folder: The plugin's.
        parent: Where copies are made; what ended programs have left there is removed.
    """

    def __init__(self, folder: Path, parent: Path) -> None:
        self._folder = folder.resolve()
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_orphans(parent)
        self.base = Path(tempfile.mkdtemp(prefix="", dir=parent))
        self._lock = os.open(self.base / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._numbers = itertools.count(1)
        self._kept: deque[tuple[str, Path]] = deque()

    def take(self) -> Path:
        """Copy the folder as it is now; the last copy, when nothing has changed since.

        Raises:
            SnapshotError: It is gone, too large, or cannot be read.
        """
        if not self._folder.is_dir():
            raise SnapshotError(f"{self._folder} is no folder any more")
        copy = self.base / str(next(self._numbers)) / self._folder.name
        try:
            _Copy().copy(self._folder, copy)
        except OSError as error:
            raise SnapshotError(f"{error.filename or self._folder} cannot be copied: {error.strerror}") from error
        digest = compute_digest(copy)
        if self._kept and self._kept[-1][0] == digest:
            shutil.rmtree(copy.parent, ignore_errors=True)
            return self._kept[-1][1]
        self._kept.append((digest, copy))
        while len(self._kept) > KEPT:
            shutil.rmtree(self._kept.popleft()[1].parent, ignore_errors=True)
        return copy

    def find_root(self, path: str) -> Path | None:
        """Find the copy that a file is in; `None` when it is in none."""
        prefix = f"{self.base}/"
        if not path.startswith(prefix):
            return None
        parts = path.removeprefix(prefix).split("/", 2)
        return self.base / parts[0] / parts[1] if len(parts) > 2 else None  # noqa: PLR2004 - number, name, file

    def close(self) -> None:
        """Remove all copies."""
        shutil.rmtree(self.base, ignore_errors=True)
        os.close(self._lock)


def look(folder: Path, files: Iterable[Path]) -> frozenset[tuple[str, int, int]] | None:
    """Look at names, sizes and times of files, to see whether anything has changed since the last time.

    Args:
        folder: Looked at with everything in it that is copied.
        files: Further files.

    Returns:
        Something that is equal as long as nothing has changed; `None` when there is too much to look at.
    """
    found: set[tuple[str, int, int]] = set()
    folders = [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name in SKIPPED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.add((entry.path, status.st_size, status.st_mtime_ns))
                if len(found) > MAX_LOOKED_AT:
                    return None
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            found.add((str(file), status.st_size, status.st_mtime_ns))
    return frozenset(found)


class _Copy:
    """Copies files, folders and links, with their permissions, within bounds."""

    def __init__(self) -> None:
        self._bytes = 0
        self._entries = 0

    def copy(self, folder: Path, target: Path) -> None:
        """Copy a folder; what vanishes meanwhile is left out: whoever watches will tell."""
        target.mkdir(parents=True)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in SKIPPED or entry.name == LOCAL_SETTINGS:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    self._copy_entry(entry, target / entry.name)
        shutil.copymode(folder, target)

    def _copy_entry(self, entry: os.DirEntry[str], target: Path) -> None:
        status = entry.stat(follow_symlinks=False)
        self._entries += 1
        self._bytes += status.st_size if stat.S_ISREG(status.st_mode) else 0
        if self._entries > MAX_ENTRIES or self._bytes > MAX_BYTES:
            raise SnapshotError(
                f"the folder is too large, at {entry.path}: more than {MAX_ENTRIES} files or {MAX_BYTES} bytes; "
                "move what the plugin does not need out of it"
            )
        if stat.S_ISLNK(status.st_mode):
            target.symlink_to(Path(entry.path).readlink())
        elif stat.S_ISDIR(status.st_mode):
            self.copy(Path(entry.path), target)
        elif stat.S_ISREG(status.st_mode):
            shutil.copyfile(entry.path, target, follow_symlinks=False)
            shutil.copymode(entry.path, target)


def _remove_orphans(parent: Path) -> None:
    """Remove the copies of programs that have ended without doing so: nobody holds their locks."""
    for base in parent.iterdir():
        with contextlib.suppress(OSError):
            descriptor = os.open(base / LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(base, ignore_errors=True)
            finally:
                os.close(descriptor)
