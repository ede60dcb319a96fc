"""The digest of a plugin's files, to tell whether a plugin has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["compute_digest"]

SKIPPED: Final = frozenset({".git", ".venv", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache"})
"""Folders that change without the plugin changing."""

MAX_CONTENT: Final = 64 * 1024 * 1024
"""Bytes that are read. Dify's packages have at most 50 MiB; of what is above, size and time of change must do."""

MAX_FILES: Final = 20_000
"""Files that are looked at."""

BLOCK: Final = 256 * 1024


def compute_digest(root: Path) -> str:
    """Compute a SHA-256 over the names and contents of all files of a plugin.

    Links are not followed; pipes and devices are not opened. What cannot be read counts as empty.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    budget = MAX_CONTENT
    for count, entry in enumerate(_walk(root)):
        if count >= MAX_FILES:
            break
        name = os.fsencode(os.path.relpath(entry.path, root))
        digest.update(b"%d:%s" % (len(name), name))
        if entry.is_symlink():
            digest.update(_read_link(entry.path))
        elif entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            digest.update(b"%d" % status.st_size)
            if status.st_size <= budget:
                budget -= status.st_size
                _update(digest, entry.path, status.st_size)
            else:
                digest.update(b"%d" % status.st_mtime_ns)
    return digest.hexdigest()


def _walk(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Go through a folder in the order of names, folders by their contents."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in SKIPPED:
                yield from _walk(entry.path)
        else:
            yield entry


def _read_link(path: str) -> bytes:
    try:
        return os.fsencode(Path(path).readlink())
    except OSError:
        return b""


def _update(digest: hashlib._Hash, path: str, size: int) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        while size > 0 and (block := file.read(min(size, BLOCK))):
            size -= len(block)
            digest.update(block)
