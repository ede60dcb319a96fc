"""Checks of single values, shared by all messages.

Each raises `LocalProtocolError`; decoding turns that into the remote error. They lie on the hot path of every
request: the common case costs a pass in C, and only a failure looks for the culprit. Error texts name the
field and the type or size found, never a value that may be secret.
"""

from __future__ import annotations

import re
from typing import Final

from protocol.errors import LocalProtocolError
from protocol.limits import (
    MAX_ENTRIES,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_ID,
    MAX_LIMITS_BYTES,
)
from protocol.plain import check_plain, utf8_size

__all__ = [
    "check_bool",
    "check_bytes",
    "check_float",
    "check_headers",
    "check_int",
    "check_limits",
    "check_map",
    "check_text",
    "check_texts",
    "check_token",
    "check_word",
    "clip",
]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN_BYTES: Final = bytes(code for code in range(128) if _TOKEN.fullmatch(chr(code)))


_PAIR: Final = 2
_SHOWN_BITS: Final = 64


def clip(text: str, limit_bytes: int) -> str:
    """Cut a text to a size in bytes of UTF-8, on a character boundary; lone surrogates become `?`.

    Senders use it for log and error texts, which the messages refuse when they are over their limit.

    Args:
        text: Any text.
        limit_bytes: Largest size of the result, 0 or more.

    Returns:
        The text itself where it fits, else its longest beginning that does.
    """
    if text.isascii():
        return text[:limit_bytes]
    data = text[:limit_bytes].encode(errors="replace")[:limit_bytes]
    return data.decode(errors="ignore")


def _wrong_type(what: str, value: object, expected: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what}: expected {expected}, got {type(value).__name__}")


def check_bool(what: str, value: object) -> None:
    """Check that a value is a bool."""
    if type(value) is not bool:
        raise _wrong_type(what, value, "bool")


def check_int(what: str, value: object, low: int, high: int) -> None:
    """Check that a value is an int, not a bool, within low..high inclusive."""
    if type(value) is not int:
        raise _wrong_type(what, value, "int")
    if not low <= value <= high:
        found = str(value) if value.bit_length() <= _SHOWN_BITS else f"{value.bit_length()} bits"
        raise LocalProtocolError(f"{what}: {found} is not within {low}..{high}")


def check_float(what: str, value: object, low: float, high: float) -> None:
    """Check that a value is a float within low..high inclusive, which NaN never is."""
    if type(value) is not float:
        raise _wrong_type(what, value, "float")
    if not low <= value <= high:
        raise LocalProtocolError(f"{what}: {value} is not within {low}..{high}")


def check_bytes(what: str, value: object, low: int, high: int) -> None:
    """Check that a value is bytes with a length within low..high inclusive."""
    if type(value) is not bytes:
        raise _wrong_type(what, value, "bytes")
    if not low <= len(value) <= high:
        raise LocalProtocolError(f"{what}: {len(value)} bytes, allowed are {low}..{high}")


def check_text(what: str, value: object, low: int, high: int) -> None:
    """Check that a value is a str without lone surrogates whose UTF-8 has low..high bytes inclusive."""
    if not isinstance(value, str):
        raise _wrong_type(what, value, "str")
    size = len(value) if value.isascii() else utf8_size(what, value)
    if not low <= size <= high:
        raise LocalProtocolError(f"{what}: {size} bytes of UTF-8, allowed are {low}..{high}")


def check_texts(what: str, value: object, count: int, high: int) -> None:
    """Check that a value is a tuple of at most `count` texts of 1..high bytes each."""
    if type(value) is not tuple:
        raise _wrong_type(what, value, "tuple")
    if len(value) > count:
        raise LocalProtocolError(f"{what}: {len(value)} entries, at most {count}")
    for text in value:
        check_text(what, text, 1, high)


def check_token(what: str, value: object, high: int) -> None:
    """Check that a value is a text of 1..high bytes and a token of RFC 9110 section 5.6.2."""
    check_text(what, value, 1, high)
    if not _TOKEN.fullmatch(str(value)):
        raise LocalProtocolError(f"{what}: not a token of RFC 9110")


def check_word(what: str, value: object, words: frozenset[str]) -> None:
    """Check that a value is one of a closed list of words."""
    if not isinstance(value, str) or value not in words:
        raise LocalProtocolError(f"{what}: expected one of {', '.join(sorted(words))}")


def check_map(what: str, value: object, count: int, limit_bytes: int) -> None:
    """Check that a value is plain data, and a dict of at most `count` entries and `limit_bytes` encoded."""
    if type(value) is not dict:
        raise _wrong_type(what, value, "dict")
    if len(value) > count:
        raise LocalProtocolError(f"{what}: {len(value)} entries, at most {count}")
    check_plain(what, value, limit_bytes)


def check_limits(limits: dict[str, int]) -> None:
    """Check resource limits: a dict of names to 0..MAX_ID each, within the limits on number and size."""
    check_map("limits", limits, MAX_ENTRIES, MAX_LIMITS_BYTES)
    for value in limits.values():
        check_int("limits", value, 0, MAX_ID)


def check_headers(value: object) -> None:
    """Check a head: a tuple of (name, value) tuples of bytes, within the limits on their number and size.

    Names are tokens of RFC 9110 section 5.6.2; values hold no CR, LF or NUL (section 5.5).
    """
    if type(value) is not tuple:
        raise _wrong_type("headers", value, "tuple")
    if len(value) > MAX_HEADERS:
        raise LocalProtocolError(f"headers: {len(value)} fields, at most {MAX_HEADERS}")
    names: list[bytes] = []
    contents: list[bytes] = []
    for pair in value:
        if type(pair) is not tuple or len(pair) != _PAIR:
            raise LocalProtocolError("headers: expected (name, value) tuples")
        name, content = pair
        if type(name) is not bytes or type(content) is not bytes:
            raise LocalProtocolError("headers: names and values are bytes")
        names.append(name)
        contents.append(content)
    size = _check_names(names) + _check_contents(names, contents)
    if size > MAX_HEADER_BYTES:
        raise LocalProtocolError(f"headers: {size} bytes, at most {MAX_HEADER_BYTES}")


def _check_names(names: list[bytes]) -> int:
    joined = b"".join(names)
    if b"" in names or joined.translate(None, _TOKEN_BYTES):
        raise LocalProtocolError("headers: a name is not a token of RFC 9110")
    return len(joined)


def _check_contents(names: list[bytes], contents: list[bytes]) -> int:
    joined = b"".join(contents)
    for byte in (b"\r", b"\n", b"\0"):
        if byte in joined:
            name = next(name for name, content in zip(names, contents, strict=True) if byte in content)
            raise LocalProtocolError(f"headers: the value of {name[:64]!r} holds {byte!r}")
    return len(joined)
