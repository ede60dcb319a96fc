"""The examples and explanations below a command's options, laid out for the terminal that shows them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from itertools import groupby
from typing import Final

__all__ = ["lay_out"]

MARGIN: Final = 2
"""Columns beside a help text, which typer leaves empty."""

BELOW: Final = "\n      "
"""What stands before what an example does, or the rest of a command, where there is no room beside it."""

GAP: Final = re.compile(r"(?<=\S)\s{2,}")
"""Between a command and what it does."""

SEAM: Final = re.compile(r"(?<=\S) (?=(?:\||&&|--[a-z]\S*)(?: |$))")
"""Where a command may be continued in another line."""


def lay_out(text: str, width: int | None = None) -> str:
    r"""Lay out a help text so that lines end where something ends, and examples can be copied.

    Paragraphs become one line, which the terminal folds. Examples, which are indented, are commands with or without two
    spaces or more and what they do. They are a line each, as they were written; where one of them is too long for
    that, what they do stands below them, and long commands are continued after a `\`.

    Args:
        text: Paragraphs and examples, with empty lines between them.
        width: Columns there are; those of the terminal if not given.
    """
    room = (width or shutil.get_terminal_size().columns) - MARGIN
    blocks = []
    for indented, group in groupby(text.strip("\n").split("\n\n"), key=lambda part: part.startswith(" ")):
        parts = list(group)
        blocks += [_fit(parts, room)] if indented else [" ".join(part.split()) for part in parts]
    # typer would take the indentation of examples for that of the whole text, if the text began with its first line
    return "\n" + "\n\n".join(blocks) if text else ""


def _fit(examples: Sequence[str], room: int) -> str:
    if all(len(example) <= room for example in examples):
        return "\n".join(examples)
    split = [GAP.split(example, maxsplit=1) for example in examples]
    return "\n".join(BELOW.join([_fold(command, room), *does]) for command, *does in split)


def _fold(command: str, room: int) -> str:
    """Continue a command that is too long in further lines, outside of its quotes; as it is where it has no seam."""
    if len(command) <= room:
        return command
    seams = [seam.start() for seam in SEAM.finditer(command) if command[: seam.start()].count("'") % 2 == 0]
    if not seams:
        return command
    seam = max((seam for seam in seams if seam <= room - len(" \\")), default=seams[0])
    rest = BELOW.lstrip("\n") + command[seam + 1 :]
    return f"{command[:seam]} \\\n{_fold(rest, room)}"
