"""What was fetched from indexes, kept for further builds. Only the executor writes here, never a build.

Files are kept under the digest that the index gives, and only if they have it. Pages are kept for builds without a
network.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from executor.environments.simple_page import PackageFile

__all__ = ["DownloadCache", "Incoming"]

_DIGEST: Final = "sha256"
_STALE_S: Final = 86_400.0


class Incoming(Protocol):
    """A file that is being fetched."""

    def write(self, data: bytes, /) -> None:
        """Take the next piece."""

    def finish(self) -> bool:
        """Keep it, if it is what was expected; whether it is."""


class DownloadCache:
    """A folder of files, and one of pages.

    Args:
        folder: Made when something is kept.
        size: Bytes of files and pages that `trim` leaves.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._files = folder / "files"
        self._pages = folder / "pages"
        self._size = size

    def find(self, file: PackageFile) -> BinaryIO | None:
        """Open a file that was kept."""
        digest = file.hashes.get(_DIGEST)
        if digest is None:
            return None
        try:
            found = (self._files / digest).open("rb")
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(found.fileno())
        return found

    def find_page(self, url: str) -> bytes | None:
        """Read a page that was kept."""
        try:
            return self._page(url).read_bytes()
        except OSError:
            return None

    def keep_page(self, url: str, content: bytes) -> None:
        """Keep a page, in the form that `write_page` gives it, with addresses of its own."""
        with contextlib.suppress(OSError):
            self._pages.mkdir(mode=0o700, parents=True, exist_ok=True)
            half = self._pages / f"{self._page(url).name}.{os.getpid()}"
            half.write_bytes(content)
            half.replace(self._page(url))

    @contextlib.contextmanager
    def receive(self, expected: dict[str, str]) -> Iterator[Incoming]:
        """Take a file that is being fetched; it is kept once `finish` was called, and not otherwise.

        Args:
            expected: Hashes, by algorithm; a file without a SHA-256 is checked, but not kept.
        """
        if _DIGEST not in expected:
            yield _Checked(expected)
            return
        self._files.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._files, prefix="half-", delete=False) as half:
            try:
                yield _Kept(expected, half, self._files / expected[_DIGEST])  # type: ignore[arg-type]  # a wrapper
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(half.name)  # noqa: PTH108 - of a name

    def trim(self, now: float) -> None:
        """Remove the files and pages that were not used for the longest time, until the rest is small enough.

        Args:
            now: Unix seconds.
        """
        found = []
        for folder in (self._files, self._pages):
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(folder):
                    status = entry.stat(follow_symlinks=False)
                    if not entry.name.startswith("half-") or now - status.st_mtime > _STALE_S:
                        found.append((status.st_mtime, status.st_size, entry.path))
        left = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if left <= self._size:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - of a scan
            left -= size

    def _page(self, url: str) -> Path:
        return self._pages / hashlib.sha256(url.encode()).hexdigest()


class _Checked:
    """Checks a file while it passes."""

    def __init__(self, expected: dict[str, str]) -> None:
        self._expected = expected
        self._sums = {name: hashlib.new(name, usedforsecurity=False) for name in expected}

    def write(self, data: bytes, /) -> None:
        for total in self._sums.values():
            total.update(data)

    def finish(self) -> bool:
        return all(total.hexdigest() == self._expected[name] for name, total in self._sums.items())


class _Kept(_Checked):
    """The same, and writes it down."""

    def __init__(self, expected: dict[str, str], half: BinaryIO, target: Path) -> None:
        super().__init__(expected)
        self._half = half
        self._target = target

    def write(self, data: bytes, /) -> None:
        super().write(data)
        self._half.write(data)

    def finish(self) -> bool:
        if not super().finish():
            return False
        self._half.flush()
        os.replace(self._half.name, self._target)  # noqa: PTH105 - of a name
        return True
