"""The wire format between supervisor and workers: frames, messages, states, limits, errors. It does no I/O.

`docs/protocol.md` specifies it byte by byte. Typical use:

    connection = Connection(Role.SUPERVISOR)
    write(connection.send(Invoke(...)))
    connection.receive_data(read())
    while (message := connection.next_message()) is not None:
        ...
"""

from __future__ import annotations

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
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
    LendFolder,
    PrepareForks,
    PrepareWorker,
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
    INITIAL_CALL_CREDIT,
    INITIAL_CREDIT,
    MAX_CALL_BYTES,
    MAX_CONTROL,
    MAX_CREDIT,
    MAX_DATA,
    MAX_ERROR_TEXT,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_LOG_MESSAGE,
    MAX_LOGGER_NAME,
    MAX_OPEN_CALLS,
    MAX_SETTINGS_BYTES,
)
from protocol.messages import (
    Body,
    BodyEnd,
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
from protocol.values import pack_value, unpack_value

__all__ = [
    "COMPILE_SOURCE",
    "INITIAL_CALL_CREDIT",
    "INITIAL_CREDIT",
    "MAX_CALL_BYTES",
    "MAX_CONTROL",
    "MAX_CREDIT",
    "MAX_DATA",
    "MAX_ERROR_TEXT",
    "MAX_HEADERS",
    "MAX_HEADER_BYTES",
    "MAX_LOGGER_NAME",
    "MAX_LOG_MESSAGE",
    "MAX_OPEN_CALLS",
    "MAX_SETTINGS_BYTES",
    "VERSION",
    "Body",
    "BodyEnd",
    "Call",
    "CallCancel",
    "CallCredit",
    "CallData",
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
    "LendFolder",
    "LocalProtocolError",
    "Log",
    "Message",
    "PathValue",
    "PrepareForks",
    "PrepareWorker",
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
    "pack_value",
    "unpack_value",
]
