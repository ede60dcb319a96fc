"""Private folders of workers: one for each, removed with it; what a crashed instance left is swept at the next start.

Every running supervisor has one folder below `<state_dir>/scratch` and holds a lock on the file beside it
(flock(2)). The kernel drops the lock with the process, so a folder whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
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
        self._lock = os.open(_lock_file(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

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
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
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
    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=_open_up_and_retry)
    else:
        shutil.rmtree(folder, onerror=_open_up_and_retry)
    if folder.exists():
        log.error("scratch.not_removed", folder=str(folder))


def _open_up_and_retry(function: Callable[[str], object], path: str, _error: object) -> None:
    """A worker may have taken away the permissions of its own folders; give them back and try once more."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            os.chmod(path, 0o700)  # noqa: PTH101
            shutil.rmtree(path, ignore_errors=True)
        else:
            function(path)
