"""Values of a hook's settings: given as they are, or taken from an environment variable or a file.

A value is used as it stands unless it is a map with the single key `from_env` or `from_file`. Such a
reference is resolved when the configuration is loaded, and again at every reload, so that secrets need not be
in the file. What was resolved is never shown: not in errors, not by `executor config show`, not in logs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = ["FromEnv", "FromFile", "ResolveError", "SettingValue", "read_value", "resolve", "show_value"]

MAX_FILE_BYTES: Final = 65536
"""Largest file that a setting is read from."""

MAX_DEPTH: Final = 16
"""Deepest nesting of a setting's value."""


class ResolveError(ValueError):
    """A reference leads nowhere.

    Attributes:
        expected: What should have been there.
        found: What there was instead; nothing secret.
    """

    code: ClassVar[str] = "config.reference"

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class FromEnv:
    """The value is the text of an environment variable of the executor."""

    name: str

    def resolve(self, _: Path) -> str:
        """Read the variable.

        Raises:
            ResolveError: It is not set.
        """
        value = os.environ.get(self.name)
        if value is None:
            message = f"the environment variable {self.name} is not set"
            raise ResolveError(message, expected=f"the environment variable {self.name}", found="nothing")
        return value


@dataclass(frozen=True, slots=True)
class FromFile:
    """The value is the content of a file in UTF-8, without one line end at its end."""

    path: str

    def resolve(self, base: Path) -> str:
        """Read the file; a relative path starts at `base`.

        Raises:
            ResolveError: It cannot be read, is too large or is not text.
        """
        path = Path(base, self._expanded())
        expected = f"a text file of at most {MAX_FILE_BYTES} bytes"
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise ResolveError(f"cannot read {path}: {found}", expected=expected, found=found) from error
        if len(content) > MAX_FILE_BYTES:
            message = f"{path} is larger than {MAX_FILE_BYTES} bytes"
            raise ResolveError(message, expected=expected, found="a larger file")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            message = f"{path} is not text in UTF-8"
            raise ResolveError(message, expected=expected, found="other bytes") from None
        return text.removesuffix("\n").removesuffix("\r")

    def absolute(self, base: Path) -> FromFile:
        """Make it mean the same wherever it is read."""
        return FromFile(str(Path(base, self._expanded())))

    def _expanded(self) -> Path:
        try:
            return Path(self.path).expanduser()
        except RuntimeError:  # there is no such user, or no home folder: then it is a name like any other
            return Path(self.path)


_KINDS: Final = {"from_env": FromEnv, "from_file": FromFile}


def read_value(value: object) -> object:
    """Recognise references; refuse what cannot be passed on to a worker.

    Raises:
        PydanticCustomError: It is neither a reference nor plain data; its context holds `expected`.
    """
    if isinstance(value, FromEnv | FromFile):
        return value
    if isinstance(value, Mapping) and set(value) & set(_KINDS):
        ((kind, target),) = value.items() if len(value) == 1 else ((None, None),)
        if kind is None or not isinstance(target, str) or not target or "\0" in target:
            raise _wrong("a reference such as {from_env: NAME} or {from_file: PATH}, with nothing else in the map")
        return _KINDS[kind](target)
    _check_plain(value, MAX_DEPTH)
    return value


def _check_plain(value: object, depth: int) -> None:
    if depth == 0:
        raise _wrong(f"a value nested at most {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _wrong("a map with text keys only (put other keys in quotes)")
            _check_plain(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, depth - 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise _wrong("an integer of at most 64 bits (put longer ones in quotes)")
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise _wrong("a text, number, boolean, list or map (put dates and the like in quotes)")


def _wrong(expected: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "expected {expected}", {"expected": expected})


def show_value(value: object) -> object:
    """Write a value back in the form in which it was given."""
    match value:
        case FromEnv(name):
            return {"from_env": name}
        case FromFile(path):
            return {"from_file": path}
    return value


SettingValue = Annotated[
    Any,
    BeforeValidator(read_value),
    PlainSerializer(show_value),
    WithJsonSchema({"description": "A plain value, {from_env: NAME} or {from_file: PATH}."}),
]
"""A value as it was given: plain data, `FromEnv` or `FromFile`."""


def resolve(value: object, base: Path) -> object:
    """Turn a given value into the one to use.

    Args:
        value: Plain data, `FromEnv` or `FromFile`.
        base: Folder where relative paths start.

    Raises:
        ResolveError: A reference leads nowhere.
    """
    return value.resolve(base) if isinstance(value, FromEnv | FromFile) else value
