"""Requests of endpoints as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, Never

from executor.reverse.call import CallFailedError
from executor.reverse.targets.failures import BAD_REQUEST

__all__ = ["encode_request", "hex_text", "text_field"]

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)


def encode_request(document: Mapping[str, object]) -> bytes:
    """Write a request as JSON.

    Raises:
        CallFailedError: Something in it cannot be written.
    """
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":"), default=_refuse).encode()
    except (ValueError, RecursionError, TypeError) as error:
        raise CallFailedError(f"the request cannot be written as JSON: {error}", BAD_REQUEST) from error


def _refuse(value: object) -> Never:
    raise TypeError(f"it has a value of the type {type(value).__name__}")


def hex_text(value: object, name: str) -> str:
    """Write bytes in hexadecimal digits; a text has to be that already.

    Raises:
        CallFailedError: It is neither.
    """
    if isinstance(value, bytes):
        return value.hex()
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise CallFailedError(f"`{name}` has to be bytes in hexadecimal digits", BAD_REQUEST)
    return value


def text_field(request: Mapping[str, object], name: str) -> str:
    """Take a field that is a text and not empty.

    Raises:
        CallFailedError: It is not that.
    """
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise CallFailedError(f"`{name}` has to be a text that is not empty", BAD_REQUEST)
    return value
