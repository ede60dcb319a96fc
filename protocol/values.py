"""Values of reverse calls, to bytes and back: plain data in msgpack, with bounds of its own.

The bytes travel in pieces, so no frame bounds them. Whoever puts the pieces together stops at MAX_CALL_BYTES, and
unfolds nothing before all are there.
"""

from __future__ import annotations

from typing import NoReturn

import msgpack

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_CALL_BYTES, MAX_CALL_DEPTH, MAX_CALL_NODES
from protocol.plain import check_plain, check_structure

__all__ = ["pack_value", "unpack_value"]


def pack_value(value: object) -> bytes:
    """Return the encoding of a value.

    Args:
        value: Plain data, and tuples, which become lists. Borrowed.

    Raises:
        LocalProtocolError: It is not plain data, or over one of the limits.
    """
    try:
        check_plain("value", value, MAX_CALL_BYTES, nodes=MAX_CALL_NODES, depth=MAX_CALL_DEPTH)
        packed: bytes = msgpack.packb(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, LocalProtocolError):
            raise
        raise LocalProtocolError(f"value: cannot be encoded: {error}") from error
    return packed


def unpack_value(data: bytes, *, nodes: int = MAX_CALL_NODES) -> object:
    """Return the value in an encoding.

    Args:
        data: All pieces together, at most MAX_CALL_BYTES.
        nodes: Most values in it.

    Raises:
        RemoteProtocolError: It is not one value of plain data, or over one of the limits.
    """
    if len(data) > MAX_CALL_BYTES:
        raise RemoteProtocolError(f"value: {len(data)} bytes, at most {MAX_CALL_BYTES}")
    check_structure(data, nodes=nodes, depth=MAX_CALL_DEPTH)
    size = len(data)
    try:
        value: object = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_ext,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=0,
        )
        check_plain("value", value, MAX_CALL_BYTES, nodes=nodes, depth=MAX_CALL_DEPTH)
    except LocalProtocolError as error:
        raise RemoteProtocolError(str(error)) from error
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise RemoteProtocolError(f"value is not msgpack as used here: {error}") from error
    return value


def _refuse_ext(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"ext type {code}")
