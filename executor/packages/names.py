"""Names of files in a package: which are safe to be made on any file system, and which can stand beside each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from executor.packages.errors import PackageError

__all__ = ["check_name", "check_names", "decode_name"]

MAX_NAME: Final = 1024
"""Bytes of a name; as long as a path that the catalogue reads."""

MAX_PART: Final = 255
"""Bytes between two slashes: the limit of most file systems."""

MAX_DEPTH: Final = 32
"""Parts of a name."""

FORBIDDEN: Final = {"\\": "a backslash", "\0": "a NUL character"}


def decode_name(raw: bytes) -> str:
    """Read the name of an entry.

    Raises:
        PackageError: It is not UTF-8.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "backslashreplace")
        raise PackageError(shown, found="other bytes", expected="a name in UTF-8") from None


def check_name(name: str) -> None:
    """Check one name by itself.

    Raises:
        PackageError: It is not a plain relative path to a file.
    """
    if not name:
        raise PackageError(name, found="an entry without a name", expected="a name for each entry")
    for character, meaning in FORBIDDEN.items():
        if character in name:
            raise PackageError(name, found=meaning, expected="a name with / between its parts and no such character")
    if not name.isprintable():
        raise PackageError(name, found="a control character", expected="printable characters")
    if name.startswith("/"):
        raise PackageError(name, found="an absolute path", expected="a path relative to the package")
    if name.endswith("/"):
        raise PackageError(
            name,
            found="a folder",
            expected="files alone, as Dify has it",
            hint="`executor plugin package` makes a package without entries for folders",
        )
    _check_parts(name)


def _check_parts(name: str) -> None:
    parts = name.split("/")
    for part in parts:
        if part in {"", ".", ".."}:
            found = f'"{part}" between slashes' if part else "two slashes in a row"
            raise PackageError(name, found=found, expected='a path without empty, "." and ".." parts')
        if len(part.encode()) > MAX_PART:
            found = f"a part of {len(part.encode())} bytes"
            raise PackageError(name, found=found, expected=f"parts of at most {MAX_PART} bytes")
    if len(name.encode()) > MAX_NAME:
        raise PackageError(name, found=f"{len(name.encode())} bytes", expected=f"a name of at most {MAX_NAME} bytes")
    if len(parts) > MAX_DEPTH:
        raise PackageError(name, found=f"{len(parts)} parts", expected=f"a path of at most {MAX_DEPTH} parts")


def check_names(names: Iterable[str]) -> None:
    """Check that names can stand beside each other, on file systems that do not tell upper from lower case as well.

    Raises:
        PackageError: Two are the same, differ by case or normal form only, or one is a folder of another.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        other = files.get(_fold(name))
        if other is not None:
            found = "the same name again" if other == name else f'a name that differs from "{other}" by case only'
            raise PackageError(name, found=found, expected="each name once")
        files[_fold(name)] = name
        parts = name.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            first = folders.setdefault(_fold(folder), folder)
            if first != folder:
                found = f'a folder that differs from "{first}" by case only'
                raise PackageError(name, found=found, expected="each folder under one name")
    for key in files.keys() & folders.keys():
        raise PackageError(files[key], found="a file that is the folder of another entry", expected="one or the other")


def _fold(name: str) -> str:
    """Bring together what some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
