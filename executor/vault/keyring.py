"""Where keys come from: what the configuration names, or a file in the state folder that is made at first use."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from executor.config.confidential import Confidential
from executor.config.references import ResolveError
from executor.durable import sync_folder
from executor.vault.errors import KeySourceError
from executor.vault.keys import Key, new_key, parse_keys, write_keys

__all__ = ["KEY_FILE", "ConfiguredKeys", "KeyFile", "KeySource", "key_source"]

KEY_FILE: Final = "secrets.key"
"""The name of the file in the state folder."""

MAX_FILE_BYTES: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class ConfiguredKeys:
    """Keys that the configuration names; they are never changed from here.

    Args:
        given: Their text, or where it is.
    """

    def __init__(self, given: Confidential) -> None:
        self._given = given
        self.shown: Final = f"secrets.key ({given.source})"

    def read(self) -> tuple[Key, ...]:
        """Read the keys.

        Raises:
            KeySourceError: There are none.
        """
        try:
            return parse_keys(self._given.reveal(), self.shown)
        except ResolveError as error:
            raise KeySourceError(f"secrets.key: {error}") from error

    def read_or_make(self) -> tuple[Key, ...]:
        """The same: nothing is made."""
        return self.read()


class KeyFile:
    """A file that belongs to the executor, with mode 0600.

    Args:
        path: Of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shown: Final = f"the key file {path}"

    def read(self) -> tuple[Key, ...]:
        """Read the keys.

        Raises:
            KeySourceError: There is no such file, others may read it, or there is no key in it.
        """
        try:
            with self._path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read(MAX_FILE_BYTES)
        except FileNotFoundError as error:
            raise KeySourceError(f"{self.shown} is missing; restore it from a backup") from error
        except OSError as error:
            raise KeySourceError(f"{self.shown} cannot be read: {error.strerror}") from error
        if mode & _OTHERS:
            raise KeySourceError(f"{self.shown} can be read or changed by others; chmod 600 {self._path}")
        return parse_keys(text.decode("ascii", errors="replace"), self.shown)

    def read_or_make(self) -> tuple[Key, ...]:
        """Read the keys; make the file, with one key, when there is none.

        Raises:
            KeySourceError: It cannot be read or made.
        """
        if not self._path.exists():
            self._write((new_key(),), replace=False)
        return self.read()

    def write(self, keys: tuple[Key, ...]) -> None:
        """Replace the content of the file; afterwards it is on the disk.

        Raises:
            KeySourceError: It cannot be written.
        """
        self._write(keys, replace=True)

    def _write(self, keys: tuple[Key, ...], *, replace: bool) -> None:
        """Write the file as a whole; without `replace`, leave one alone that somebody else has made meanwhile."""
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{KEY_FILE}-", dir=folder)  # with mode 0600
            try:
                with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
                    file.write(write_keys(keys))
                    file.flush()
                    os.fsync(descriptor)
                if replace:
                    Path(name).replace(self._path)
                else:
                    with contextlib.suppress(FileExistsError):
                        self._path.hardlink_to(name)
            finally:
                Path(name).unlink(missing_ok=True)
            sync_folder(folder)
        except OSError as error:
            raise KeySourceError(f"{self.shown} cannot be written: {error}") from error


KeySource = ConfiguredKeys | KeyFile


def key_source(given: Confidential | None, state_dir: Path) -> KeySource:
    """Tell where keys come from.

    Args:
        given: What the configuration says, `secrets.key`.
        state_dir: Where the file is when it says nothing.
    """
    return KeyFile(state_dir / KEY_FILE) if given is None else ConfiguredKeys(given)
