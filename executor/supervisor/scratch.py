"""Private folders of workers: one for each, removed with it; what a crashed instance left is swept at the next start.

Every running supervisor has one folder below `<state_dir>/scratch` and holds a lock on the file beside it
(flock(2)). The kernel drops the lock with the process, so a folder whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

__all__ = ["ScratchRoot", "remove_scratch", "sweep_scratch_roots"]

log = structlog.get_logger("executor.scratch")


class ScratchRoot:
    """The folder for the workers of this supervisor, for as long as it runs.

    Args:
        state_dir: The state directory; `scratch/` is created in it.

    Raises:
        OSError: The state directory cannot be written.
    """

    def __init__(self, state_dir: Path) -> None:
        parent = state_dir / "scratch"
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(dir=parent))
        unlocked = self.path.with_name(self.path.name + ".new")  # a name that no sweep looks at
        self._lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(_lock_file(self.path))

    def create(self) -> Path:
        """Create the private folder of one worker."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def close(self) -> None:
        """Remove the folder and give up the lock."""
        _remove_tree(self.path)
        _lock_file(self.path).unlink(missing_ok=True)
        os.close(self._lock)


def sweep_scratch_roots(state_dir: Path) -> int:
    """Remove the folders of supervisors that no longer run, and only those; how many were removed."""
    swept = 0
    for lock_file in (state_dir / "scratch").glob("*.lock"):
        try:
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another instance sweeps, too
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # in use
        else:
            _remove_tree(lock_file.with_suffix(""))
            lock_file.unlink(missing_ok=True)
            swept += 1
        finally:
            os.close(descriptor)
    return swept


async def remove_scratch(folder: Path) -> None:
    """Remove one worker's folder with all that is in it, without holding up the event loop."""
    try:
        os.rmdir(folder)  # noqa: PTH106 - the usual case: empty
    except FileNotFoundError:
        pass
    except OSError:
        await asyncio.to_thread(_remove_tree, folder)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _remove_tree(folder: Path) -> None:
    """Remove a folder, whatever a worker has made of it.

    Not with `shutil.rmtree`: folders within folders may go deeper than Python can recurse, and further than the
    kernel takes a path. Here they are moved to the top, level by level, and removed there.
    """
    names = (f"{folder}/{secrets.token_hex(8)}" for _ in itertools.count())
    while _remove_level(str(folder), names):
        pass
    with contextlib.suppress(OSError):
        folder.rmdir()
    if folder.exists():
        log.error("scratch.not_removed", folder=str(folder))


def _remove_level(folder: str, names: Iterator[str]) -> bool:
    """Remove the files in a folder, and its folders, whose own folders take their places; whether anything moved."""
    moved = False
    for entry in _scan(folder):
        if entry.is_dir(follow_symlinks=False):
            for inner in _scan(entry.path):
                moved |= _try(os.rename, inner.path, next(names)) if _opened(inner) else _try(os.unlink, inner.path)
            moved |= _try(os.rmdir, entry.path)
        else:
            moved |= _try(os.unlink, entry.path)
    return moved


def _scan(folder: str) -> list[os.DirEntry[str]]:
    """List a folder, taking the permissions for it: a worker may have locked itself out."""
    try:
        os.chmod(folder, 0o700)  # noqa: PTH101
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _opened(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder; if so, it may be moved afterwards."""
    return entry.is_dir(follow_symlinks=False) and _try(os.chmod, entry.path, 0o700)


def _try(function: Callable[..., object], *arguments: object) -> bool:
    try:
        function(*arguments)
    except OSError:
        return False
    return True
