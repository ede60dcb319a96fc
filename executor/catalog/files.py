"""Reading files of a plugin that nobody vouches for.

Rules of this file: no path leads out of the plugin, symbolic links included; nothing but regular files is ever opened
for reading, so a named pipe or a device cannot block or trigger anything; nothing is read beyond a limit.
"""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import Final

from executor.catalog.findings import Code, show

__all__ = ["MAX_FILE_BYTES", "FileError", "PluginFiles"]

MAX_FILE_BYTES: Final = 256 * 1024
"""Largest file that is read. Real declarations have a few kilobytes, real sources some dozens."""

MAX_PATH: Final = 1024
"""Longest path inside a plugin, in characters."""

KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileError(Exception):
    """A file of the plugin cannot be used.

    Attributes:
        code: What kind of mistake.
        found: What there was instead.
        expected: What should have been there.
    """

    def __init__(self, code: Code, found: str, expected: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.code = code
        self.found = found
        self.expected = expected


class PluginFiles:
    """The files of one plugin.

    Args:
        root: The plugin's folder; links on the way to it are followed once, here.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def locate(self, path: str) -> str:
        """Check a path from a declaration.

        Args:
            path: As it was written, relative to the plugin's folder.

        Returns:
            The same path, normalised, with slashes; it exists and is a regular file inside the plugin.

        Raises:
            FileError: It is not.
        """
        normal = self._normalise(path)
        self._stat(normal)
        return normal

    def has_folder(self, path: str) -> bool:
        """Tell whether a path is a folder inside the plugin."""
        try:
            target = self._follow(self._normalise(path))
        except FileError:
            return False
        return os.path.isdir(target)  # noqa: PTH112 - hot

    def read(self, path: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """Read a file.

        Args:
            path: Relative to the plugin's folder.
            limit: Largest size in bytes.

        Raises:
            FileError: It does not exist, is not a regular file inside the plugin, is too large or cannot be read.
        """
        normal = self._normalise(path)
        target = self._stat(normal)
        try:
            descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                _require_regular(os.fstat(descriptor).st_mode)
                content = file.read(limit + 1)
        except OSError as error:
            raise _os_error(error, path) from error
        if len(content) > limit:
            raise FileError(Code.FILE_TOO_LARGE, "a larger file", f"a file of at most {limit} bytes")
        return content

    def _normalise(self, path: str) -> str:
        expected = "a path relative to the plugin's folder"
        if not path.strip():
            raise FileError(Code.FILE_PATH, "an empty path", expected)
        if len(path) > MAX_PATH:
            raise FileError(Code.FILE_PATH, f"{len(path)} characters", f"a path of at most {MAX_PATH} characters")
        if not path.isprintable():
            raise FileError(Code.FILE_PATH, f"{show(path)} with control characters", expected)
        if path.startswith("/"):
            raise FileError(Code.FILE_PATH, f"the absolute path {show(path)}", expected)
        normal = posixpath.normpath(path)
        if normal == ".." or normal.startswith("../"):
            raise FileError(Code.FILE_OUTSIDE, show(path), "a path inside the plugin's folder")
        return normal

    def _stat(self, path: str) -> str:
        """Follow links, check that a regular file is at the end; return its real path."""
        target = self._follow(path)
        try:
            _require_regular(os.lstat(target).st_mode)
        except OSError as error:
            raise _os_error(error, path) from error
        return target

    def _follow(self, path: str) -> str:
        """Follow links and check that they stay inside; return the real path."""
        try:
            target = os.path.realpath(os.path.join(self.root, path), strict=True)  # noqa: PTH118 - hot
        except OSError as error:
            raise _os_error(error, path) from error
        if os.path.commonpath((target, self.root)) != str(self.root):
            raise FileError(
                Code.FILE_OUTSIDE,
                f"{show(path)}, where a symbolic link leads out of the plugin",
                "a path inside the plugin's folder",
            )
        return target


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise FileError(Code.FILE_KIND, KINDS.get(stat.S_IFMT(mode), "something else"), "a regular file")


def _os_error(error: OSError, path: str) -> FileError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return FileError(Code.FILE_MISSING, "none", f"the file {show(path)}")
    return FileError(Code.FILE_UNREADABLE, (error.strerror or "an error").lower(), "a file that can be read")
