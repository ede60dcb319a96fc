"""Exceptions of endpoint code, written for its author: without our frames, and within a size."""

from __future__ import annotations

import os
from traceback import FrameSummary, StackSummary, TracebackException
from typing import Final

from protocol import MAX_ERROR_TEXT, clip

__all__ = ["describe_error", "format_error", "shorten"]

OUR_FOLDER: Final = os.path.dirname(__file__) + os.sep

_CUT: Final = "\n  ... (cut) ...\n"


def describe_error(error: BaseException) -> str:
    """Return an exception in one line, such as `KeyError: 'name'`, whatever its `__str__` does."""
    summary = TracebackException(type(error), error, None, compact=True, max_group_width=1, max_group_depth=1)
    lines = (
        line for line in summary.format_exception_only() if not line.startswith(" ")
    )  # the source of a SyntaxError
    return clip(next(lines, type(error).__name__).strip(), MAX_ERROR_TEXT)


def format_error(error: BaseException) -> str:
    """Return the traceback of an exception, and of those it came from, without the frames of this package.

    Returns:
        At most MAX_ERROR_TEXT bytes of UTF-8; of a longer one the middle is left out, not the end that matters most.
    """
    summary = TracebackException.from_exception(error, compact=True)
    _strip(summary)
    return shorten("".join(summary.format()), MAX_ERROR_TEXT)


def shorten(text: str, limit_bytes: int) -> str:
    """Cut the middle out of a text that is over a size in bytes of UTF-8; lone surrogates become `?`."""
    data = text.encode(errors="replace")
    if len(data) <= limit_bytes:
        return data.decode()
    half = (limit_bytes - len(_CUT)) // 2
    return data[:half].decode(errors="ignore") + _CUT + data[-half:].decode(errors="ignore")


def _strip(summary: TracebackException | None) -> None:
    if summary is None:
        return
    summary.stack = StackSummary.from_list([frame for frame in summary.stack if not _is_ours(frame)])
    _strip(summary.__cause__)
    _strip(summary.__context__)
    for part in getattr(summary, "exceptions", None) or ():
        _strip(part)


def _is_ours(frame: FrameSummary) -> bool:
    return frame.filename.startswith((OUR_FOLDER, "<frozen importlib"))
