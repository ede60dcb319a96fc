"""Checks of single values, shared by all messages. Each raises `LocalProtocolError`; decoding turns that into remote.

The checks lie on the hot path of every request: the common case costs one pass in C, and only a failure looks for
the culprit. Error texts name the field and the type or size found, never a value that may be a secret.
"""

from __future__ import annotations

import re
from typing import Final

from protocol.errors import LocalProtocolError
from protocol.limits import MAX_DEPTH, MAX_HEADER_BYTES, MAX_HEADERS, MAX_NODES

__all__ = [
    "check_bool",
    "check_bytes",
    "check_float",
    "check_headers",
    "check_int",
    "check_plain",
    "check_text",
    "check_texts",
    "check_token",
    "clip",
    "utf8_size",
]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN_LINES: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*")
_NOT_IN_VALUE: Final = re.compile(rb"[\r\n\0]")
_PAIR: Final = 2


def _wrong_type(what: str, value: object, expected: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what}: expected {expected}, got {type(value).__name__}")


def utf8_size(what: str, text: str) -> int:
    """Return the size of a text in bytes of UTF-8.

    Raises:
        LocalProtocolError: It holds a lone surrogate, which UTF-8 cannot express.
    """
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"{what}: lone surrogate at index {error.start}") from None


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
        return text if len(text) <= limit_bytes else text[:limit_bytes]
    data = text[: limit_bytes + 1].encode(errors="replace")[:limit_bytes]
    return data.decode(errors="ignore")


def check_bool(what: str, value: object) -> None:
    """Check that a value is a bool."""
    if type(value) is not bool:
        raise _wrong_type(what, value, "bool")


def check_int(what: str, value: object, low: int, high: int) -> None:
    """Check that a value is an int, not a bool, within low..high inclusive."""
    if type(value) is not int:
        raise _wrong_type(what, value, "int")
    if not low <= value <= high:
        raise LocalProtocolError(f"{what}: {_brief(value)} is not within {low}..{high}")


def _brief(value: int) -> str:
    return str(value) if value.bit_length() <= MAX_DEPTH * 4 else f"an int of {value.bit_length()} bits"


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
    """Check that a value is a tuple of at most `count` non-empty texts of at most `high` bytes each."""
    if type(value) is not tuple:
        raise _wrong_type(what, value, "tuple")
    if len(value) > count:
        raise LocalProtocolError(f"{what}: {len(value)} entries, at most {count}")
    for text in value:
        check_text(what, text, 1, high)


def check_token(what: str, value: object, high: int) -> None:
    """Check that a value is a text of 1..high bytes and a token of RFC 9110 section 5.6.2."""
    check_text(what, value, 1, high)
    if isinstance(value, str) and not _TOKEN.fullmatch(value):
        raise LocalProtocolError(f"{what}: not a token of RFC 9110")


def check_headers(value: object) -> None:
    """Check a head: a tuple of (name, value) tuples of bytes, within the limits on their number and size.

    Names are tokens of RFC 9110 section 5.6.2; values hold no CR, LF or NUL (section 5.5).
    """
    if type(value) is not tuple:
        raise _wrong_type("headers", value, "tuple")
    if len(value) > MAX_HEADERS:
        raise LocalProtocolError(f"headers: {len(value)} fields, at most {MAX_HEADERS}")
    names: list[bytes] = []
    values: list[bytes] = []
    for pair in value:
        if type(pair) is not tuple or len(pair) != _PAIR:
            raise _wrong_type("headers", pair, "pair of bytes")
        name, content = pair
        if type(name) is not bytes or type(content) is not bytes:
            raise LocalProtocolError("headers: names and values are bytes")
        names.append(name)
        values.append(content)
    _check_header_bytes(names, values)


def _check_header_bytes(names: list[bytes], values: list[bytes]) -> None:
    lines, contents = b"\n".join(names), b"".join(values)
    separators = max(len(names) - 1, 0)
    size = len(lines) - separators + len(contents)
    if size > MAX_HEADER_BYTES:
        raise LocalProtocolError(f"headers: {size} bytes, at most {MAX_HEADER_BYTES}")
    if names and (lines.count(b"\n") != separators or not _TOKEN_LINES.fullmatch(lines)):
        raise LocalProtocolError("headers: a name is not a token of RFC 9110")
    if _NOT_IN_VALUE.search(contents):
        index = next(i for i, content in enumerate(values) if _NOT_IN_VALUE.search(content))
        raise LocalProtocolError(f"headers: the value of {names[index][:64]!r} holds CR, LF or NUL")


_INT_SIZES: Final = ((7, 1), (8, 2), (16, 3), (32, 5), (64, 9))
_LENGTHS: Final = ((16, 1), (2**16, 3), (2**32, 5))


def check_plain(what: str, value: object, limit_bytes: int) -> None:
    """Check plain data: nil, bool, int, float, str, bytes, and lists and string-keyed dicts of these.

    Args:
        what: Name of the field, for the error.
        value: Data of any depth, also cyclic. Borrowed, not changed.
        limit_bytes: Largest size of its msgpack encoding.

    Raises:
        LocalProtocolError: Another type (tuples and subclasses included), an int beyond 64 bits, a lone surrogate,
            too deep, too many values, or too large.
    """
    budget = limit_bytes
    nodes = 0
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise LocalProtocolError(f"{what}: more than {MAX_NODES} values")
        kind = type(item)
        if kind is dict or kind is list:
            depth += 1
            if depth > MAX_DEPTH:
                raise LocalProtocolError(f"{what}: nested deeper than {MAX_DEPTH}")
            budget -= _push(what, item, depth, pending)
        else:
            budget -= _scalar_size(what, item)
        if budget < 0:
            raise LocalProtocolError(f"{what}: more than {limit_bytes} bytes encoded")


def _push(what: str, item: object, depth: int, pending: list[tuple[object, int]]) -> int:
    """Queue what a container holds, and return the size of its head."""
    if isinstance(item, dict):
        for key in item:
            if type(key) is not str:
                raise _wrong_type(f"{what} key", key, "str")
        pending.extend((key, depth) for key in item)
        pending.extend((content, depth) for content in item.values())
        return _head_size(len(item))
    assert isinstance(item, list)  # noqa: S101 - narrows the type
    pending.extend((content, depth) for content in item)
    return _head_size(len(item))


def _head_size(count: int) -> int:
    return 1 if count < 16 else 3 if count < 65536 else 5  # noqa: PLR2004 - sizes of the msgpack format


def _scalar_size(what: str, item: object) -> int:
    """Return the encoded size of a scalar."""
    if type(item) is str:
        size = utf8_size(what, item)
        return size + (1 if size < 32 else 2 if size < 256 else 3 if size < 65536 else 5)  # noqa: PLR2004
    if item is None or type(item) is bool:
        return 1
    if type(item) is int:
        return _int_size(what, item)
    if type(item) is float:
        return 9
    if type(item) is bytes:
        return len(item) + (2 if len(item) < 256 else 3 if len(item) < 65536 else 5)  # noqa: PLR2004
    raise _wrong_type(what, item, "plain data")


def _int_size(what: str, item: int) -> int:
    if -32 <= item < 128:  # noqa: PLR2004
        return 1
    if item < 0:
        bits = (~item).bit_length() + 1
        top = 64
    else:
        bits = item.bit_length()
        top = 64
    if bits > top:
        raise LocalProtocolError(f"{what}: {_brief(item)} does not fit into 64 bits")
    return 2 if bits <= 8 else 3 if bits <= 16 else 5 if bits <= 32 else 9  # noqa: PLR2004
