"""Where a value of the configuration was given, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from executor.catalog.findings import printable

__all__ = ["ConfigError", "KeyPath", "Place", "Problem", "Source", "dotted"]

KeyPath = tuple[str | int, ...]
"""The way to a value from the top of the document: keys of maps and indexes of lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was given.

    Attributes:
        file: The file; `None` when it was not given in a file.
        line: Line in the file, from 1; `None` when not known.
        column: Column in the line, from 1; `None` when not known.
        origin: The option of the command line, such as `--port`, when it was given there.
    """

    file: Path | None = None
    line: int | None = None
    column: int | None = None
    origin: str = ""

    def __str__(self) -> str:
        """Write it as compilers do, `file:line:column`."""
        if self.file is None:
            return self.origin
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or worth a note.

    Attributes:
        severity: `error` stops the start; `warning` and `note` do not, and a `warning` must not go unnoticed.
        name: Dotted name of the value; empty for the whole document.
        place: Where it was given.
        found: What was found, shortened; never the value of a hook's setting.
        expected: What would have been right.
        message: The whole in one sentence, with a hint where there is one.
    """

    severity: Literal["error", "warning", "note"] = "error"
    name: str
    place: Place
    found: str
    expected: str
    message: str

    def __str__(self) -> str:
        """Write it in one line: place, name, message."""
        return printable(": ".join(part for part in (str(self.place), self.name, self.message) if part))


class ConfigError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: Everything that is wrong, in the order of the document; at least one.
    """

    code: ClassVar[str] = "config.invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Source:
    """A document as it was read, before it is validated.

    Attributes:
        file: The file; `None` when there is none.
        data: Plain data.
        keys: Place of each key and list item, by the path to it.
        values: Place of each value, by the path to it.
        problems: What is wrong with the form of the document, such as repeated keys.
    """

    file: Path | None = None
    data: Mapping[str, object] = field(default_factory=dict)
    keys: Mapping[KeyPath, Place] = field(default_factory=dict)
    values: Mapping[KeyPath, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def locate(self, path: KeyPath, *, key: bool = False) -> Place:
        """Find where a value was given, or else the nearest thing around it that was.

        Args:
            path: The way to the value.
            key: Whether to point at the key of a map rather than at its value.
        """
        for end in range(len(path), -1, -1):
            place = (self.keys if key else self.values).get(path[:end])
            if place is not None:
                return place
        return Place(file=self.file)

    def given(self, path: KeyPath) -> Place | None:
        """Find where exactly this value was given; `None` when it was not."""
        return self.values.get(path)


def dotted(path: KeyPath) -> str:
    """Write a path for people: `plugins[0].limits.wall_time`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
