"""Functions: what a daemon has launched, kept in the state folder.

    STATE_DIR/serverless/plugins/AUTHOR/NAME/VERSION@CHECKSUM/    the files, as `executor.packages` keeps them
    STATE_DIR/serverless/functions/NAME.json                      the function, written when it can be called

The time of change of a function's file tells when it was called last, to the minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from executor.durable import sync_folder
from executor.serverless.errors import LaunchError

__all__ = ["FOLDER", "FUNCTIONS", "PLUGINS", "Function", "FunctionShelf", "new_token"]

FOLDER: Final = "serverless"
PLUGINS: Final = "plugins"
FUNCTIONS: Final = "functions"

USE_STEP_S: Final = 60.0
"""Calls of a function within so many seconds are written down once."""

MAX_RECORD: Final = 65_536

_NAME: Final = re.compile(r"sri-[a-z0-9_-]{1,80}-[0-9a-f]{32}", re.ASCII)
_TOKEN: Final = re.compile(r"[a-z0-9]{32}", re.ASCII)
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A version of a plugin that a daemon may call.

    Attributes:
        token: The secret part of its URL.
        author: Of the plugin.
        plugin: Name of the plugin.
        version: Of the plugin.
        checksum: Of its files.
        launched_at: Unix seconds.
        environment: Digest of the environment that its workers run in; empty where that is the executor's own.
    """

    token: str = field(repr=False)
    author: str
    plugin: str
    version: str
    checksum: str
    launched_at: float
    environment: str = ""

    @property
    def name(self) -> str:
        """What it is called: unique, at most 127 characters, as the daemon can keep."""
        return f"sri-{self.plugin[:80]}-{self.checksum[:32]}"

    @property
    def filename(self) -> str:
        """What the daemon asks for it by."""
        return f"{self.author}@{self.plugin}@{self.version}@{self.checksum}.difypkg"

    @property
    def identifier(self) -> str:
        """`author/name:version@checksum`."""
        return f"{self.author}/{self.plugin}:{self.version}@{self.checksum}"


def new_token() -> str:
    """Make a token that cannot be guessed: 32 lower-case letters and digits, 165 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(32))


class FunctionShelf:
    """The files of all functions. Used by one thread at a time.

    Args:
        folder: STATE_DIR/serverless/functions; made when the first one is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._used: dict[str, float] = {}

    def read(self) -> tuple[Function, ...]:
        """Read all functions, in the order of their names; files that are none are left out."""
        return tuple(function for path in sorted(self.folder.glob("*.json")) for function in _read(path))

    def put(self, function: Function) -> None:
        """Write a function to the disk, as a whole or not at all.

        Raises:
            OSError: It cannot be written.
            LaunchError: It cannot have a file.
        """
        if not _NAME.fullmatch(function.name):
            raise LaunchError(f"{function.name[:200]!r} cannot be the name of a function")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = self.folder / f"{function.name}.new"
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(json.dumps(asdict(function), indent=2).encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        half.replace(self._path(function))
        sync_folder(self.folder)

    def has(self, function: Function) -> bool:
        """Tell whether a function's file is there; one that cannot be looked at counts as there."""
        try:
            self._path(function).stat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def remove(self, function: Function) -> None:
        """Forget a function.

        Raises:
            OSError: Its file cannot be removed.
        """
        self._path(function).unlink(missing_ok=True)
        sync_folder(self.folder)

    def touch(self, function: Function) -> None:
        """Note that a function is being called."""
        now = time.monotonic()
        if now - self._used.get(function.name, -USE_STEP_S) >= USE_STEP_S:
            self._used[function.name] = now
            with contextlib.suppress(OSError):
                os.utime(self._path(function))

    def last_use(self, function: Function) -> float:
        """When a function was launched or called last, in Unix seconds."""
        try:
            return self._path(function).stat().st_mtime
        except OSError:
            return function.launched_at

    def _path(self, function: Function) -> Path:
        return self.folder / f"{function.name}.json"


def _read(path: Path) -> Iterator[Function]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        with path.open("rb") as file:
            function = Function(**json.loads(file.read(MAX_RECORD)))
        if _TOKEN.fullmatch(function.token) and f"{function.name}.json" == path.name:
            yield function
