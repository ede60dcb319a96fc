"""What can be kept in a row: the same on both databases, and checked before anything is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from sqlalchemy import JSON, String

from executor.store.errors import InvalidValueError
from executor.store.tables import StoreBase

__all__ = ["check_row", "make_text"]

_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
"""NUL, which PostgreSQL does not take, and halves of characters, which nobody takes."""


def check_row(table: type[StoreBase], values: Mapping[str, object]) -> None:
    """Check what is to be written into a row of a table.

    Args:
        table: The table.
        values: By the names of the columns. Not shown.

    Raises:
        InvalidValueError: A text is too long or has characters that are none, or data is not plain data.
    """
    for column in table.__table__.columns:
        value = values.get(column.name)
        if isinstance(column.type, JSON):
            _check_data(column.name, value)
        elif isinstance(column.type, String) and isinstance(value, str):
            _check_text(column.name, value, column.type.length)


def make_text(text: str) -> str:
    """Replace the characters that cannot be kept."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def _check_text(name: str, text: str, length: int | None) -> None:
    if length is not None and len(text) > length:
        raise InvalidValueError(f"{name} has {len(text)} characters; at most {length} can be kept")
    if _NO_TEXT.search(text):
        raise InvalidValueError(f"{name} has a NUL or a lone surrogate in it, which cannot be kept")


def _check_data(name: str, value: object) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # the cause may show the value
        raise InvalidValueError(
            f"{name} is not plain data: maps with text keys, lists, texts, finite numbers"
        ) from None
