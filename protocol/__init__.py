"""The wire format between supervisor and workers: frames, messages, states, limits, errors. It does no I/O.

`docs/protocol.md` specifies it byte by byte. Typical use:

    connection = Connection(Role.SUPERVISOR)
    write(connection.send(Invoke(...)))
    connection.receive_data(read())
    while (message := connection.next_message()) is not None:
        ...
"""

from __future__ import annotations

from protocol.checks import clip
from protocol.connection import Connection
from protocol.control import (
    COMPILE_SOURCE,
    ControlMessage,
    Exited,
    Forked,
    ForkFailed,
    ForkSlot,
    ForkWorker,
    ForkZygote,
    Kill,
    Shutdown,
    SlotReady,
    StoreBytecode,
    ZygoteReady,
    decode_control,
    encode_control,
)
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.frames import VERSION
from protocol.limits import (
    INITIAL_CREDIT,
    MAX_CONTROL,
    MAX_CREDIT,
    MAX_DATA,
    MAX_ERROR_TEXT,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_LOG_MESSAGE,
    MAX_LOGGER_NAME,
    MAX_SETTINGS_BYTES,
)
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
    Headers,
    Invoke,
    Log,
    Message,
    PathValue,
    Ready,
    Response,
    Scalar,
)
from protocol.states import Role, SupervisorState, WorkerState

__all__ = [
    "COMPILE_SOURCE",
    "INITIAL_CREDIT",
    "MAX_CONTROL",
    "MAX_CREDIT",
    "MAX_DATA",
    "MAX_ERROR_TEXT",
    "MAX_HEADERS",
    "MAX_HEADER_BYTES",
    "MAX_LOGGER_NAME",
    "MAX_LOG_MESSAGE",
    "MAX_SETTINGS_BYTES",
    "VERSION",
    "Body",
    "BodyEnd",
    "Call",
    "CallResult",
    "Cancel",
    "Chunk",
    "Connection",
    "ControlMessage",
    "Credit",
    "End",
    "Error",
    "Exited",
    "ForkFailed",
    "ForkSlot",
    "ForkWorker",
    "ForkZygote",
    "Forked",
    "Headers",
    "Invoke",
    "Kill",
    "LocalProtocolError",
    "Log",
    "Message",
    "PathValue",
    "ProtocolError",
    "Ready",
    "RemoteProtocolError",
    "Response",
    "Role",
    "Scalar",
    "Shutdown",
    "SlotReady",
    "StoreBytecode",
    "SupervisorState",
    "WorkerState",
    "ZygoteReady",
    "clip",
    "decode_control",
    "encode_control",
]
