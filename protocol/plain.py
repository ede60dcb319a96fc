"""Plain data: the values that settings, reports and calls are made of, and how large they may unfold.

    plain = nil | bool | int (64 bit) | float | str | bin | [plain, ...] | {str: plain, ...}

Theory of operation. Plain data is the only place where the peer decides about structure, so there are two
checks.

`check_plain` looks at objects, before they are sent and after they were received: types, ranges, depth,
number of values, encoded size. It is one pass with a stack of its own, so depth costs no recursion and a
cycle ends at `MAX_DEPTH`.

`check_structure` looks at bytes before msgpack unfolds them. It has to: one byte may become an empty map of
64 bytes, and an array header of five bytes makes msgpack allocate as many items as it claims, once per
level of nesting. The exact check walks the payload in Python, skipping over texts; an upper bound counted
in C spares nearly every payload from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_DEPTH, MAX_NODES, MAX_PAYLOAD_NODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_plain", "check_structure", "utf8_size"]


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


def check_plain(what: str, value: object, limit_bytes: int, *, nodes: int = MAX_NODES, depth: int = MAX_DEPTH) -> None:
    """Check plain data.

    Args:
        what: Name of the field, for the error. Values are not shown, they may be secret.
        value: Data of any depth, also cyclic. Borrowed, not changed.
        limit_bytes: Largest size of its msgpack encoding.
        nodes: Most values in it.
        depth: Most levels of arrays and maps.

    Raises:
        LocalProtocolError: Another type (tuples and subclasses included), an int beyond 64 bits, a lone
            surrogate, too deep, too many values, or too large.
    """
    size, count = 0, 1
    level: list[object] = [value]
    pending: list[tuple[Iterable[object], int]] = [(level, 0)]
    while pending:
        items, above = pending.pop()
        for item in items:
            kind = type(item)
            if kind is str:
                size += _text_size(what, item)  # type: ignore[arg-type]  # mypy does not narrow by `kind is`
            elif isinstance(item, dict | list) and (kind is dict or kind is list):
                count += len(item) if kind is list else 2 * len(item)
                if above == depth:
                    raise LocalProtocolError(f"{what}: nested deeper than {depth}")
                if count > nodes:
                    raise LocalProtocolError(f"{what}: more than {nodes} values")
                size += 1 if len(item) < 1 << 4 else 3 if len(item) < 1 << 16 else 5
                if isinstance(item, dict):
                    size += sum([_key_size(what, key) for key in item])
                    pending.append((item.values(), above + 1))
                elif set(map(type, item)) == {float}:  # a vector: counted without a step for each number
                    size += 9 * len(item)
                else:
                    pending.append((item, above + 1))
            else:
                size += _scalar_size(what, item)
        if size > limit_bytes:
            raise LocalProtocolError(f"{what}: {size} bytes encoded, at most {limit_bytes}")


def _key_size(what: str, key: object) -> int:
    if type(key) is not str:
        raise LocalProtocolError(f"{what}: a key is {type(key).__name__}, expected str")
    return _text_size(what, key)


def _text_size(what: str, text: str) -> int:
    size = len(text) if text.isascii() else utf8_size(what, text)
    return size + (1 if size < 1 << 5 else 2 if size < 1 << 8 else 3 if size < 1 << 16 else 5)


def _scalar_size(what: str, item: object) -> int:
    """Return the encoded size of a value that is neither text nor container."""
    if item is None or type(item) is bool:
        return 1
    if type(item) is int:
        return _int_size(what, item)
    if type(item) is float:
        return 9
    if type(item) is bytes:
        size = len(item)
        return size + (2 if size < 1 << 8 else 3 if size < 1 << 16 else 5)
    raise LocalProtocolError(f"{what}: {type(item).__name__} is not plain data")


def _int_size(what: str, item: int) -> int:
    """Return the size of the shortest encoding: -2**5..2**7-1, then 8, 16, 32 and 64 bits, signed or not."""
    if -(1 << 5) <= item < 1 << 7:
        return 1
    bits = item.bit_length() if item > 0 else (~item).bit_length() + 1
    for width, size in ((8, 2), (16, 3), (32, 5), (64, 9)):
        if bits <= width:
            return size
    raise LocalProtocolError(f"{what}: an int of {bits} bits, at most 64")


_HARMLESS: Final = 1 << 18
"""Items that msgpack may allocate for at worst without the exact check: 2 MiB of pointers."""

_CONTAINERS: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_FIXED: Final[Mapping[int, int]] = {
    **dict.fromkeys((0xC0, 0xC2, 0xC3), 0),
    **dict.fromkeys((0xCC, 0xD0), 1),
    **dict.fromkeys((0xCD, 0xD1), 2),
    **dict.fromkeys((0xCA, 0xCE, 0xD2), 4),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
}
"""First byte -> bytes that follow: nil, bool, int, float."""
_COUNTED: Final[Mapping[int, int]] = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""First byte -> width of the length that follows: bin, str."""
_NESTED: Final[Mapping[int, tuple[int, int]]] = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""First byte -> width of the count that follows, values per entry: array, map."""
_FLOAT: Final = b"\xcb"
"""First of the nine bytes of a float 64."""


def check_structure(payload: bytes, *, nodes: int = MAX_PAYLOAD_NODES, depth: int = MAX_DEPTH + 1) -> None:
    """Check that a payload stays within a number of values and of levels when it is unfolded.

    Raises:
        RemoteProtocolError: It does not, it is cut short, or it uses ext types or the unused byte 0xc1.
    """
    containers = len(payload) - len(payload.translate(None, _CONTAINERS))
    if containers * len(payload) > _HARMLESS:
        _walk(payload, nodes, depth)


def _walk(payload: bytes, nodes: int, depth: int) -> None:
    position, seen = 0, 1
    remaining = [1]
    while remaining:
        if not remaining[-1]:
            remaining.pop()
            continue
        remaining[-1] -= 1
        if position >= len(payload):
            raise RemoteProtocolError(f"payload: cut short at {len(payload)} bytes")
        position, count = _step(payload, position)
        if count:
            seen += count
            if seen > nodes:
                raise RemoteProtocolError(f"payload: more than {nodes} values")
            if len(remaining) > depth:
                raise RemoteProtocolError(f"payload: nested deeper than {depth}")
            if payload[position : position + 9 * count : 9] == _FLOAT * count:  # a vector: skipped as a whole
                position += 9 * count
            else:
                remaining.append(count)


def _step(payload: bytes, position: int) -> tuple[int, int]:
    """Return where the value at a position ends, or its contents begin, and how many values it contains."""
    first = payload[position]
    position += 1
    if first < 0x80 or first >= 0xE0:  # noqa: PLR2004 - the bytes of the msgpack format, here and below
        return position, 0
    if first < 0xA0:  # noqa: PLR2004
        return position, first & 0x0F if first & 0x10 else 2 * (first & 0x0F)
    if first < 0xC0:  # noqa: PLR2004
        return position + (first & 0x1F), 0
    if first in _FIXED:
        return position + _FIXED[first], 0
    if first in _COUNTED:
        start = position + _COUNTED[first]
        return start + int.from_bytes(payload[position:start], "big"), 0
    if first in _NESTED:
        width, factor = _NESTED[first]
        start = position + width
        return start, factor * int.from_bytes(payload[position:start], "big")
    raise RemoteProtocolError(f"payload: byte 0x{first:02x} stands for nothing that is used here")
