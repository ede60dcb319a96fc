"""The digest of a plugin's files, to tell whether a plugin has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

__all__ = ["SKIPPED", "compute_digest"]

SKIPPED: Final = frozenset({".git", ".venv", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache"})
"""Names of folders that change without the plugin changing."""

MAX_CONTENT: Final = 64 * 1024 * 1024
"""Bytes that are read. Dify's packages have at most 50 MiB; of what is above, size and time of change must do."""

MAX_FILES: Final = 20_000
"""Files and folders that are looked at."""

BLOCK: Final = 256 * 1024


def compute_digest(root: Path) -> str:
    """Compute a SHA-256 over the names and contents of all files of a plugin.

    Links are not followed; pipes and devices are not opened. What cannot be read counts as empty.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    budget = MAX_CONTENT
    for entry in islice(_walk(str(root)), MAX_FILES):
        name = os.fsencode(os.path.relpath(entry.path, root))
        digest.update(b"%d:%s" % (len(name), name))
        if entry.is_symlink():
            digest.update(_read_link(entry.path))
        elif entry.is_file(follow_symlinks=False):
            budget -= _update(digest, entry, budget)
    return digest.hexdigest()


def _walk(root: str) -> Iterator[os.DirEntry[str]]:
    """Go through a folder and the folders in it, in the same order every time."""
    folders = [root]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                entries = sorted(islice(found, MAX_FILES), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.name not in SKIPPED:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


def _read_link(path: str) -> bytes:
    try:
        return os.fsencode(Path(path).readlink())
    except OSError:
        return b""


def _update(digest: hashlib._Hash, entry: os.DirEntry[str], budget: int) -> int:
    """Add a file's size and content, or its time of change where the budget does not do; return what was spent."""
    spent = 0
    with contextlib.suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        digest.update(b"%d" % status.st_size)
        if status.st_size > budget:
            digest.update(b"%d" % status.st_mtime_ns)
            return 0
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            while spent < status.st_size and (block := file.read(min(status.st_size - spent, BLOCK))):
                spent += len(block)
                digest.update(block)
    return spent
