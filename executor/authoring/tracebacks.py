"""Tracebacks of endpoints, read again from the text that the worker sent, to show the plugin's own frames first.

The text comes from the worker, so anything may be in it; what does not look like a traceback is not taken for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Frame", "Raised", "parse_traceback"]

_FRAME: Final = re.compile(
    r'  File "(?P<file>[^"\n]{1,4096})", line (?P<line>[0-9]{1,9})(?:, in (?P<name>[^\n]{1,1000}))?'
)
_HEAD: Final = "Traceback (most recent call last):"
_LINKS: Final = {
    "The above exception was the direct cause of the following exception:": "caused by",
    "During handling of the above exception, another exception occurred:": "while handling",
}
_MARKS: Final = frozenset(" ^~")


@dataclass(frozen=True, slots=True)
class Frame:
    """One place in the code.

    Attributes:
        file: As the worker saw it.
        line: From 1.
        name: Of the function; empty for a syntax error.
        code: The line itself, without its indentation; may be empty.
    """

    file: str
    line: int
    name: str
    code: str


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception of a chain.

    Attributes:
        message: Its own lines, such as `KeyError: 'name'`.
        frames: Where it was raised, the innermost frame last.
        link: How the next one of the list is related: `caused by` or `while handling`; empty for the last.
    """

    message: str
    frames: tuple[Frame, ...]
    link: str = ""


def parse_traceback(text: str) -> tuple[Raised, ...]:
    """Read a traceback as Python writes it.

    Returns:
        The exceptions, the one that came out first and what led to it after it; nothing when the text is something else
        or has parts that are not understood, such as groups of exceptions.
    """
    chain: list[Raised] = []
    link = ""
    for lines, next_link in _split(text.splitlines()):
        raised = _parse_one(lines, link)
        if raised is None:
            return ()
        chain.insert(0, raised)
        link = next_link
    return tuple(chain)


def _split(lines: list[str]) -> list[tuple[list[str], str]]:
    """Split a chain at the sentences between its exceptions: the lines of each, and how the next one is related."""
    parts: list[tuple[list[str], str]] = []
    part: list[str] = []
    for line in lines:
        if line in _LINKS:
            parts.append((part, _LINKS[line]))
            part = []
        elif line or part:
            part.append(line)
    return [*parts, (part, "")]


def _parse_one(lines: list[str], link: str) -> Raised | None:
    while lines and not lines[-1]:
        lines.pop()
    position = 1 if lines and lines[0] == _HEAD else 0
    frames: list[Frame] = []
    while position < len(lines):
        line = lines[position]
        match = _FRAME.fullmatch(line)
        if match is not None:
            frames.append(Frame(match["file"], int(match["line"]), match["name"] or "", ""))
        elif line.startswith("    ") and frames:
            frames[-1] = _with_code(frames[-1], line)
        elif not line.startswith("  [Previous line repeated"):
            break
        position += 1
    message = "\n".join(lines[position:])
    if not message or message.startswith((" ", "Traceback")):
        return None
    return Raised(message, tuple(frames), link)


def _with_code(frame: Frame, line: str) -> Frame:
    """Keep the first line of code; those below it only mark places in it."""
    if frame.code or set(line) <= _MARKS:
        return frame
    return Frame(frame.file, frame.line, frame.name, line.strip())
