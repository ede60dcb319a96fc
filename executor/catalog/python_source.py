"""Parsing Python that nobody vouches for: it is read, never run, and within bounds."""

from __future__ import annotations

import ast
import warnings
from typing import Final

__all__ = ["SourceSyntaxError", "SourceTooComplexError", "parse_source"]

MAX_MARKS: Final = 10_000
"""Dots, and opening braces, of a source that is parsed. Python 3.11 needs half a minute for a dotted name of 100,000
parts and ten seconds for as many fields in an f-string: time goes with the square of their number."""


class SourceTooComplexError(ValueError):
    """A source would take too much time or memory to check; it may well be right."""


class SourceSyntaxError(ValueError):
    """A source is not Python.

    Attributes:
        position: Line and column, from 1; `None` when not known.
    """

    def __init__(self, reason: str, position: tuple[int, int] | None = None) -> None:
        super().__init__(reason)
        self.position = position


def parse_source(content: bytes) -> ast.Module:
    """Parse a source.

    Args:
        content: What is in the file. The parser takes up to 300 times as much memory.

    Raises:
        SourceTooComplexError: Parsing it might take long.
        SourceSyntaxError: It is not Python, or so deeply nested that Python gives up.
    """
    for mark in (b"{", b"."):
        if content.count(mark) > MAX_MARKS:
            raise SourceTooComplexError(f'more than {MAX_MARKS} "{mark.decode()}"')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except SyntaxError as error:
        position = (error.lineno, max(error.offset or 1, 1)) if error.lineno else None
        raise SourceSyntaxError(error.msg or "invalid syntax", position) from error
    except (RecursionError, MemoryError) as error:
        raise SourceSyntaxError("it is nested too deeply") from error
    except ValueError as error:
        raise SourceSyntaxError(str(error)) from error
