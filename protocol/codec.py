"""Messages to payloads and back: which type byte stands for which message, and msgpack in its strictest form.

A payload is one msgpack array of exactly the message's fields. Only nil, bool, int, float, str, bin, array and map
are used; ext types (timestamps too) are refused, and nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

import msgpack

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import frame_header
from protocol.limits import MAX_FRAME, MAX_SMALL_FRAME, MAX_TEXT_FRAME, MAX_WINDOW_FRAME
from protocol.messages import (
    Body,
    BodyEnd,
    Call,
    CallResult,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Invoke,
    Log,
    Message,
    Prepare,
    Ready,
    Response,
)
from protocol.states import Role

__all__ = [
    "FRAME_LIMITS",
    "TYPES",
    "MessageType",
    "decode_message",
    "decode_payload",
    "encode_message",
    "pack",
]


class MessageType(NamedTuple):
    """One row of the table of messages: the class, and the most bytes that its payload may have."""

    message: type[Message]
    limit_bytes: int


TYPES: Final[Mapping[Role, Mapping[int, MessageType]]] = MappingProxyType(
    {
        Role.SUPERVISOR: MappingProxyType(
            {
                0x01: MessageType(Prepare, MAX_FRAME),
                0x02: MessageType(Invoke, MAX_FRAME),
                0x03: MessageType(Body, MAX_WINDOW_FRAME),
                0x04: MessageType(BodyEnd, MAX_SMALL_FRAME),
                0x05: MessageType(Credit, MAX_SMALL_FRAME),
                0x06: MessageType(CallResult, MAX_FRAME),
                0x07: MessageType(Cancel, MAX_TEXT_FRAME),
            }
        ),
        Role.WORKER: MappingProxyType(
            {
                0x41: MessageType(Ready, MAX_TEXT_FRAME),
                0x42: MessageType(Response, MAX_FRAME),
                0x43: MessageType(Chunk, MAX_WINDOW_FRAME),
                0x44: MessageType(End, MAX_SMALL_FRAME),
                0x45: MessageType(Error, MAX_TEXT_FRAME),
                0x46: MessageType(Log, MAX_TEXT_FRAME),
                0x47: MessageType(Call, MAX_FRAME),
                0x48: MessageType(Credit, MAX_SMALL_FRAME),
            }
        ),
    }
)
"""By sender: type byte -> message."""

FRAME_LIMITS: Final[Mapping[Role, Mapping[int, int]]] = {
    role: {code: row.limit_bytes for code, row in types.items()} for role, types in TYPES.items()
}
"""By sender: type byte -> most bytes of payload."""

_CODES: Final = {role: {row.message: code for code, row in types.items()} for role, types in TYPES.items()}
_NAMES: Final = {
    row.message: tuple(field.name for field in fields(row.message))
    for types in TYPES.values()
    for row in types.values()
}


def _make_getter(names: tuple[str, ...]) -> Callable[[object], object]:
    """Return a function from a message to the sequence of its fields; attrgetter gives a tuple from two on."""
    if not names:
        return lambda _message: ()
    if len(names) == 1:
        get = attrgetter(names[0])
        return lambda message: (get(message),)
    return attrgetter(*names)


_GETTERS: Final = {message: _make_getter(names) for message, names in _NAMES.items()}


def pack(value: object) -> bytes:
    """Return the msgpack encoding of a value that its message has checked.

    Raises:
        LocalProtocolError: It was changed since.
    """
    try:
        packed: bytes = msgpack.packb(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise LocalProtocolError(f"cannot be encoded: {error}") from error
    return packed


def encode_message(sender: Role, message: Message) -> bytes:
    """Return the frame of a message.

    Raises:
        LocalProtocolError: This sender has no such message, or it is over the limit of its type.
    """
    code = _CODES[sender].get(type(message))
    if code is None:
        raise LocalProtocolError(f"the {sender.value} never sends {type(message).__name__}")
    if isinstance(message, Body | Chunk):
        return _encode_data(code, message.data)
    payload = pack(_GETTERS[type(message)](message))
    limit = FRAME_LIMITS[sender][code]
    if len(payload) > limit:
        raise LocalProtocolError(
            f"{type(message).__name__}: payload of {len(payload)} bytes, at most {limit}"
        )
    return frame_header(code, len(payload)) + payload


def _encode_data(code: int, data: bytes) -> bytes:
    """Frame a BODY or CHUNK by hand, copying the data once: array of one, bin 8, 16 or 32, data."""
    size = len(data)
    if size < 1 << 8:
        head = b"\x91\xc4" + size.to_bytes(1)
    elif size < 1 << 16:
        head = b"\x91\xc5" + size.to_bytes(2)
    else:
        head = b"\x91\xc6" + size.to_bytes(4)
    return b"".join((frame_header(code, len(head) + size), head, data))


def _refuse_ext(code: int, _data: bytes) -> object:
    raise ValueError(f"ext type {code}")


def decode_payload(payload: bytes) -> list[object]:
    """Return the fields in a payload, unchecked.

    Raises:
        RemoteProtocolError: Not one msgpack array, or it uses what the protocol does not.
    """
    size = len(payload)
    try:
        value: object = msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_ext,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise RemoteProtocolError(f"payload is not msgpack as used here: {type(error).__name__}") from error
    if type(value) is not list:
        raise RemoteProtocolError(f"payload: expected an array, got {type(value).__name__}")
    return value


def _freeze(value: object) -> object:
    """Turn lists of lists into tuples of tuples; what else is there is left for the message to refuse."""
    if type(value) is not list:
        return value
    return tuple([tuple(item) if type(item) is list else item for item in value])


_FROZEN: Final[Mapping[type[Message], tuple[int, ...]]] = {
    message: tuple(i for i, name in enumerate(names) if name in {"sources", "headers", "values"})
    for message, names in _NAMES.items()
}


def decode_message(sender: Role, code: int, payload: bytes) -> Message:
    """Return the message in a payload.

    Raises:
        RemoteProtocolError: The payload is malformed, or the message would be illegal.
    """
    kind = TYPES[sender][code].message
    values = decode_payload(payload)
    names = _NAMES[kind]
    if len(values) != len(names):
        raise RemoteProtocolError(f"{kind.__name__}: {len(values)} fields, expected {len(names)}")
    for index in _FROZEN[kind]:
        values[index] = _freeze(values[index])
    build: Callable[..., Message] = kind
    try:
        return build(**dict(zip(names, values, strict=True)))
    except LocalProtocolError as error:
        raise RemoteProtocolError(f"{kind.__name__}: {error}") from error
