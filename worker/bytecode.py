"""Byte code of plugins: compiled once for each zygote, in a worker, and imported by all workers from then on.

Theory of operation
-------------------
Compiling is most of the price of an import. It reads what a stranger wrote, so a worker does it: asked for the source
COMPILE_SOURCE, it answers with the byte code of all modules of the plugin. The supervisor passes the answer on to the
zygote without reading it, and the zygote puts it into a file system in memory, which the plugin's workers see at
BYTECODE and cannot change. That the byte code is a stranger's as well changes nothing: it is run by the workers of that
plugin only, who would run the source.

The files are those of Python's own cache: they lie below BYTECODE by the path of their source, and tell its time and
size. A source that was changed since is compiled by each worker, as if there were no byte code.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source
from io import open_code
from marshal import dumps, loads
from struct import pack
from types import CodeType
from typing import Any, Final

from msgpack import Unpacker, packb

from worker.view import BYTECODE

__all__ = ["BytecodeLoader", "CompilePlugin", "store_bytecode"]

MAX_FILES: Final = 5_000
MAX_BYTES: Final = 64 * 1024**2
"""Of byte code that is kept for one plugin; what comes after is compiled when it is imported."""

MAX_SOURCE: Final = 4 * 1024**2
"""Bytes of a source that is compiled in advance."""

_FLAGS: Final = 0
_WORD: Final = 0xFFFF_FFFF
_HEAD_SIZE: Final = 16


class BytecodeLoader(SourceFileLoader):
    """Imports a source of a plugin from its byte code, where there is one that is its own."""

    def __init__(self, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._cached = f"{BYTECODE}/{_place(path)}"

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - there is only ours
        """Return the code of a module: what `SourceFileLoader` does, in fewer steps, with all of its checks."""
        return self._read_bytecode() or self.source_to_code(self.get_data(self.path), self.path)

    def _read_bytecode(self) -> CodeType | None:
        """Read the byte code, if there is some and it belongs to the source as it is now."""
        try:
            status = os.stat(self.path)
            with open_code(self._cached) as file:
                content = file.read()
        except OSError:
            return None
        if content[:_HEAD_SIZE] != _head(int(status.st_mtime), status.st_size):
            return None
        code = loads(memoryview(content)[_HEAD_SIZE:])  # noqa: S302 - the worker runs what the plugin is anyway
        return code if isinstance(code, CodeType) else None


class CompilePlugin:
    """Answers any request with the byte code of a plugin: pairs of path and content.

    Args:
        session: Not used.

    Attributes:
        root: The plugin's folder.
    """

    root = ""

    def __init__(self, session: object) -> None:
        del session

    def _invoke(self, r: object, values: Mapping[str, Any], settings: Mapping[str, Any]) -> object:
        del r, values, settings
        response: Any = importlib.import_module("werkzeug.wrappers").Response  # of the plugin's own environment
        return response(_compile_all(self.root), content_type="application/octet-stream")


def _compile_all(root: str) -> Iterator[bytes]:
    for path in _list_sources(root):
        content = _compile(path)
        if content is not None:
            yield packb([path, content])


def _list_sources(root: str) -> Iterator[str]:
    """List the Python files of a plugin; not those of an environment in it, which has its own byte code."""
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not os.path.exists(f"{folder}/{name}/pyvenv.cfg")
        )
        for name in sorted(names):
            if name.endswith(".py"):
                count += 1
                if count > MAX_FILES:
                    return
                yield os.path.join(folder, name)


def _compile(path: str) -> bytes | None:
    """Return the content of a .pyc file (PEP 552, with time and size), or None if there is no code in the source."""
    try:
        status = os.stat(path)
        if status.st_size > MAX_SOURCE:
            return None
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # whoever imports it is told
    return _head(int(status.st_mtime), len(source)) + dumps(code)


def _head(modified_s: int, size: int) -> bytes:
    """What a .pyc file begins with that belongs to a source of this time and size."""
    return MAGIC_NUMBER + pack("<III", _FLAGS, modified_s & _WORD, size & _WORD)


def store_bytecode(archive_fd: int, folder_fd: int, root: str) -> int:
    """Write the answer of `CompilePlugin` to files below a folder.

    Args:
        archive_fd: The answer, as a file. Not trusted.
        folder_fd: The folder that is seen at BYTECODE.
        root: The plugin's folder; nothing outside of it is taken.

    Returns:
        How many files were written.

    Raises:
        OSError: A file could not be written.
        ValueError: It is no such answer.
    """
    written = 0
    with open(archive_fd, "rb", closefd=False) as file:
        file.seek(0)
        for entry in Unpacker(file, max_buffer_size=MAX_BYTES):
            path, content = _check(entry, root)
            target = _place(path)
            _make_folders(folder_fd, os.path.dirname(target))
            descriptor = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o444, dir_fd=folder_fd)
            with open(descriptor, "wb") as out:
                out.write(content)
            written += 1
    return written


def _place(path: str) -> str:
    """Where below BYTECODE the byte code of a source lies."""
    before, sys.pycache_prefix = sys.pycache_prefix, "/"
    try:
        return cache_from_source(path).lstrip("/")
    finally:
        sys.pycache_prefix = before


def _check(entry: object, root: str) -> tuple[str, bytes]:
    match entry:
        case [str(path), bytes(content)] if os.path.normpath(path) == path and path.startswith(f"{root}/"):
            if path.endswith(".py") and "\0" not in path:
                return path, content
    raise ValueError("an entry is not a path below the plugin's folder with its byte code")


def _make_folders(folder_fd: int, path: str) -> None:
    made = ""
    for name in path.split("/"):
        made = f"{made}/{name}" if made else name
        try:
            os.mkdir(made, 0o755, dir_fd=folder_fd)
        except FileExistsError:
            continue
