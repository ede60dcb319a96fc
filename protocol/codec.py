"""Messages to payloads and back: which type byte stands for which message, and msgpack in its strictest form.

A payload is one msgpack array of exactly the message's fields. Only nil, bool, int, float, str, bin, array
and map are used; ext types (timestamps too) are refused, and nothing is ever unpickled.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import frame_header
from protocol.limits import (
    MAX_DATA_FRAME,
    MAX_ERROR_FRAME,
    MAX_FRAME,
    MAX_HEAD_FRAME,
    MAX_LOG_FRAME,
    MAX_SMALL_FRAME,
)
from protocol.messages import (
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Invoke,
    Log,
    Message,
    Ready,
    Response,
)
from protocol.plain import check_structure
from protocol.states import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "CODES",
    "DATA_MESSAGES",
    "FRAME_LIMITS",
    "TYPES",
    "MessageType",
    "decode_message",
    "decode_payload",
    "encode_data_head",
    "encode_message",
    "find_data",
    "pack",
]


class MessageType(NamedTuple):
    """One row of the table of messages.

    Attributes:
        message: Class of the message.
        limit_bytes: Most bytes that its payload may have.
        nested: Whether a field of it may be an array or a map.
    """

    message: type[Message]
    limit_bytes: int
    nested: bool = False


TYPES: Final[Mapping[Role, Mapping[int, MessageType]]] = MappingProxyType(
    {
        Role.SUPERVISOR: {
            0x01: MessageType(Invoke, MAX_FRAME, nested=True),
            0x02: MessageType(Body, MAX_DATA_FRAME),
            0x03: MessageType(BodyEnd, MAX_SMALL_FRAME),
            0x04: MessageType(Credit, MAX_SMALL_FRAME),
            0x05: MessageType(CallResult, MAX_DATA_FRAME),
            0x06: MessageType(Cancel, MAX_LOG_FRAME),
            0x07: MessageType(CallCredit, MAX_SMALL_FRAME),
        },
        Role.WORKER: {
            0x41: MessageType(Ready, MAX_SMALL_FRAME),
            0x42: MessageType(Response, MAX_HEAD_FRAME, nested=True),
            0x43: MessageType(Chunk, MAX_DATA_FRAME),
            0x44: MessageType(End, MAX_SMALL_FRAME),
            0x45: MessageType(Error, MAX_ERROR_FRAME),
            0x46: MessageType(Log, MAX_LOG_FRAME),
            0x47: MessageType(Call, MAX_DATA_FRAME),
            0x48: MessageType(Credit, MAX_SMALL_FRAME),
            0x49: MessageType(CallData, MAX_DATA_FRAME),
            0x4A: MessageType(CallCredit, MAX_SMALL_FRAME),
            0x4B: MessageType(CallCancel, MAX_SMALL_FRAME),
        },
    }
)
"""By sender: type byte -> message."""

FRAME_LIMITS: Final[Mapping[Role, Mapping[int, int]]] = MappingProxyType(
    {role: {code: row.limit_bytes for code, row in rows.items()} for role, rows in TYPES.items()}
)
"""By sender: type byte -> most bytes of payload."""

CODES: Final = {role: {row.message: code for code, row in rows.items()} for role, rows in TYPES.items()}
"""By sender: message -> type byte."""

_ROWS: Final = [row for rows in TYPES.values() for row in rows.values()]
_NAMES: Final = {row.message: tuple(field.name for field in fields(row.message)) for row in _ROWS}
_TUPLES: Final = {
    message: [i for i, name in enumerate(names) if name in {"headers", "values"}] for message, names in _NAMES.items()
}

DATA_MESSAGES: Final = (Body, Chunk)
"""Messages that are nothing but bytes of a body."""
_ARRAY_OF_ONE: Final = 0x91
_BIN_HEADS: Final = {0xC4: 3, 0xC5: 4, 0xC6: 6}
"""bin 8, 16 and 32: bytes before the data, those for the array and for the length among them."""
_SHORTEST_DATA: Final = 4


def _make_getter(names: tuple[str, ...]) -> Callable[[object], object]:
    """Return a function from a message to its fields; attrgetter gives a tuple from two on."""
    if len(names) == 1:
        get = attrgetter(names[0])
        return lambda message: (get(message),)
    return attrgetter(*names)


_FRAMES_WITHOUT_FIELDS: Final = {
    code: frame_header(code, 1) + b"\x90"
    for rows in TYPES.values()
    for code, row in rows.items()
    if not _NAMES[row.message]
}
"""By type byte: the whole frame, with an array of nothing."""

_GETTERS: Final = {message: _make_getter(names) for message, names in _NAMES.items() if names}

_pack: Final = msgpack.Packer().pack
"""`msgpack.packb` makes a packer for each value. One for all will do: nothing runs in between."""


def pack(value: object) -> bytes:
    """Return the msgpack encoding of values that their message has checked.

    Raises:
        LocalProtocolError: A mapping was changed since, and cannot be encoded any more.
    """
    try:
        packed: bytes = _pack(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise LocalProtocolError(f"cannot be encoded: {error}") from error
    return packed


def encode_message(sender: Role, message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        LocalProtocolError: This sender has no such message, or it was changed since it was made and is now
            illegal.
    """
    kind = type(message)
    code = CODES[sender].get(kind)
    if code is None:
        raise LocalProtocolError(f"the {sender.value} never sends {kind.__name__}")
    if isinstance(message, DATA_MESSAGES):
        return b"".join((encode_data_head(sender, type(message), len(message.data)), message.data))
    if not _NAMES[kind]:
        return _FRAMES_WITHOUT_FIELDS[code]
    payload = pack(_GETTERS[kind](message))
    limit = FRAME_LIMITS[sender][code]
    if len(payload) > limit:
        raise LocalProtocolError(f"{kind.__name__}: payload of {len(payload)} bytes, at most {limit}")
    return frame_header(code, len(payload)) + payload


def encode_data_head(sender: Role, kind: type[Body | Chunk], size: int) -> bytes:
    """Return what of the frame of a BODY or CHUNK comes before its data: header, array of one, bin 8, 16 or 32.

    Args:
        sender: Who has such a message.
        kind: The message.
        size: Bytes of data, 1..MAX_DATA.
    """
    code = CODES[sender][kind]
    if size < 1 << 8:
        return frame_header(code, 3 + size) + b"\x91\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return frame_header(code, 4 + size) + b"\x91\xc5" + size.to_bytes(2, "big")
    return frame_header(code, 6 + size) + b"\x91\xc6" + size.to_bytes(4, "big")


def find_data(payload: bytes | memoryview) -> int:
    """Tell where in the payload of a BODY or CHUNK its data begin; 0 where anything is unusual about it."""
    if len(payload) < _SHORTEST_DATA or payload[0] != _ARRAY_OF_ONE:
        return 0
    begin = _BIN_HEADS.get(payload[1], 0)
    return begin if int.from_bytes(payload[2:begin], "big") == len(payload) - begin else 0


def _refuse_ext(code: int, _data: bytes) -> object:
    raise ValueError(f"ext type {code}")


def decode_payload(payload: bytes, *, count: int, nested: bool) -> list[object]:
    """Return the fields in a payload, of which only the number has been checked.

    Args:
        payload: What came, within the limit of its type.
        count: Number of fields, or -1 for any.
        nested: Whether fields may be arrays or maps.

    Raises:
        RemoteProtocolError: Not one msgpack array of as many values, or it uses what the protocol does not.
    """
    if nested:
        check_structure(payload)
    size = len(payload)
    try:
        value: object = msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_ext,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size if nested else count,
            max_map_len=size if nested else 0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise RemoteProtocolError(f"payload is not msgpack as used here: {error}") from error
    if type(value) is not list:
        raise RemoteProtocolError(f"payload: expected an array, got {type(value).__name__}")
    if count not in {-1, len(value)}:
        raise RemoteProtocolError(f"payload: {len(value)} fields, expected {count}")
    return value


def _to_tuple(value: object) -> object:
    """Turn a list of lists into a tuple of tuples; anything else is left for the message to refuse."""
    if type(value) is not list:
        return value
    if set(map(type, value)) == {list}:
        return tuple(map(tuple, value))
    return tuple(value)


def decode_message(sender: Role, code: int, payload: bytes) -> Message:
    """Return the message in a payload.

    Args:
        sender: Who sent it.
        code: Type byte, one that this sender has.
        payload: What came, within the limit of the type.

    Raises:
        RemoteProtocolError: The payload is malformed, or the message is illegal.
    """
    kind, _limit, nested = TYPES[sender][code]
    names = _NAMES[kind]
    build: Callable[..., Message] = kind
    try:
        if kind in DATA_MESSAGES and (begin := find_data(payload)):
            return build(payload[begin:])
        values = decode_payload(payload, count=len(names), nested=nested)
        for index in _TUPLES[kind]:
            values[index] = _to_tuple(values[index])
        return build(**dict(zip(names, values, strict=True)))
    except (LocalProtocolError, RemoteProtocolError) as error:
        raise RemoteProtocolError(f"{kind.__name__}: {error}") from error
