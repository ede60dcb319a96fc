"""The folder that environments are kept in, by the digest of what they are built from.

    STATE_DIR/environments/
        <digest>/venv               the virtual environment
        <digest>/environment.json   what it is, written last: an environment without this file is none
        locks/<digest>.build        locked by who builds it
        locks/<digest>.use          locked, together with others, by who uses it; its time of change tells when last
        work/<name>/                builds under way; locked by who builds
        downloads/                  files of indexes (`downloads`)

An environment appears by one rename, when all of it is on the disk. It never changes afterwards, and goes when nobody
uses it and nobody has for a while.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from executor.environments.errors import BuildError

__all__ = ["VENV", "Record", "Shelf", "Use", "take_over"]

MARKER: Final = "environment.json"
VENV: Final = "venv"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MAX_MARKER: Final = 1024**2
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an environment is.

    Attributes:
        digest: Of what it was built from.
        python: Version of its interpreter.
        program: The interpreter on this host that it was built with.
        kind: Which files it was built from: `lock`, `pyproject` or `requirements`.
        plugin: Folder of the plugin that it was first built for.
        packages: As `name==version`.
        size: Bytes on disk.
        files: Files, folders and links.
        built_at: Unix seconds.
        seconds: That the build took.
    """

    digest: str
    python: str
    program: str
    kind: str
    plugin: str
    packages: tuple[str, ...]
    size: int
    files: int
    built_at: float
    seconds: float


class Use:
    """Keeps an environment from being removed, for as long as this process has it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Let it be removed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Shelf:
    """All environments of one state directory.

    Args:
        folder: STATE_DIR/environments; made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.downloads = folder / "downloads"
        self._locks = folder / "locks"
        self._work = folder / "work"

    def place(self, digest: str) -> Path:
        """Where an environment is, or will be."""
        return self.folder / digest

    def venv(self, digest: str) -> Path:
        """Where its virtual environment is."""
        return self.place(digest) / VENV

    def find(self, digest: str) -> Record | None:
        """Read what an environment is; None when there is none."""
        try:
            with (self.place(digest) / MARKER).open("rb") as file:
                content = json.loads(file.read(_MAX_MARKER))
            return Record(**content | {"packages": tuple(content["packages"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def use(self, digest: str) -> Use:
        """Keep an environment from being removed; call it before `find`."""
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._locks / f"{digest}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
        return Use(descriptor)

    @contextlib.contextmanager
    def building(self, digest: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Be the only one who builds an environment, over all processes.

        Args:
            digest: Of the environment.
            waiting: Called when another one is building it; this waits for that.
        """
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._locks / f"{digest}.build", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def work(self, digest: str) -> Iterator[Path]:
        """Have an empty folder to build in, which is gone afterwards."""
        folder = self._work / f"{digest[:16]}-{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir(mode=0o700, parents=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield folder
        finally:
            _remove(folder)
            os.close(descriptor)

    def put(self, room: Path, record: Record) -> None:
        """Put a finished environment on the shelf: on the disk first, then at its place, at once.

        Args:
            room: The folder with `venv` in it, on the same file system; all of it ours.
            record: What it is.

        Raises:
            OSError: It cannot be written.
        """
        half = room / f"{MARKER}.new"
        half.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        half.replace(room / MARKER)
        place = self.place(record.digest)
        if place.exists():
            _remove(place)  # it has no marker, or it would not have been built
        _sync(room)
        room.rename(place)
        _sync(self.folder)

    def records(self) -> tuple[Record, ...]:
        """List the environments, the oldest first."""
        with contextlib.suppress(FileNotFoundError):
            found = [self.find(path.name) for path in self.folder.iterdir() if _DIGEST.fullmatch(path.name)]
            return tuple(sorted((record for record in found if record), key=lambda record: record.built_at))
        return ()

    def last_use(self, digest: str) -> float:
        """When somebody has begun to use an environment, in Unix seconds; 0 when nobody has."""
        try:
            return (self._locks / f"{digest}.use").stat().st_mtime
        except OSError:
            return 0.0

    def is_used(self, digest: str) -> bool:
        """Whether somebody uses an environment now; to ask is no use of it."""
        if not (self._locks / f"{digest}.use").exists():
            return False
        with self._unused(digest) as free:
            return not free

    def collect(self, *, keep_s: float, now: float) -> tuple[Path, ...]:
        """Remove what nobody uses and nobody has used for a while, and what builds have left that were killed.

        Args:
            keep_s: How long ago the last use must be.
            now: Unix seconds.

        Returns:
            The environments that were removed.
        """
        removed = []
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(path.name for path in self.folder.iterdir()):
                if not _DIGEST.fullmatch(name):
                    continue
                recent = now - self.last_use(name) < keep_s and self.find(name) is not None
                with self._unused(name) as free:
                    if free and not recent:
                        (self.place(name) / MARKER).unlink(missing_ok=True)
                        _remove(self.place(name))
                        removed.append(self.place(name))
            self._collect_work()
        return tuple(removed)

    def _collect_work(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for folder in list(self._work.iterdir()):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(folder)
                except BlockingIOError:
                    continue
                finally:
                    os.close(descriptor)

    @contextlib.contextmanager
    def _unused(self, digest: str) -> Iterator[bool]:
        """Keep an environment from being used while it is removed; whether nobody uses or builds it."""
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            for kind in ("build", "use"):
                descriptor = os.open(self._locks / f"{digest}.{kind}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield False
                    return
            yield True


def take_over(folder: Path) -> None:
    """Make everything in a folder ours that a build has made: owner, modes, and nothing but files, folders and links.

    Raises:
        BuildError: There is something else, such as a named pipe.
    """
    uid, gid = os.geteuid(), os.getegid()
    for parent, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, 0o755)
        for name in (*folders, *files):
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                raise BuildError(f"the build has left {parent}/{name}, which is neither file, folder nor link")
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                os.chmod(name, 0o755 if status.st_mode & stat.S_IXUSR else 0o644, dir_fd=descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder that others have written to; links are not followed."""
    for _ in range(2):  # a build can leave folders that cannot be written, which only other users' hinder
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        for parent, names, _ in os.walk(folder):  # which looks into them after this
            for path in (parent, *(f"{parent}/{name}" for name in names)):
                with contextlib.suppress(OSError):
                    if not os.path.islink(path):  # noqa: PTH114 - of a walk
                        os.chmod(path, 0o700)  # noqa: PTH101 - of a walk
    shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have everything written on the file system of a folder.

    Raises:
        OSError: That failed. Source: syncfs(2).
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"syncfs {folder}: {os.strerror(code)}")
    finally:
        os.close(descriptor)
