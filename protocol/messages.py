"""The messages, one frozen class each, and the rules that their values keep; those of calls are in `call_messages`.

Every message checks itself when it is made and raises `LocalProtocolError`, so that an illegal message cannot
exist, whoever made it: this side, or the decoder from what the peer sent. On the wire a message is one
msgpack array of its fields in the order in which they stand here.

Mappings are borrowed, not copied: whoever makes a message leaves them alone until it has been sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, final

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.checks import (
    check_bool,
    check_bytes,
    check_float,
    check_headers,
    check_int,
    check_map,
    check_text,
    check_token,
    check_word,
)
from protocol.errors import LocalProtocolError
from protocol.limits import (
    MAX_CREDIT,
    MAX_DATA,
    MAX_ERROR_TEXT,
    MAX_ID,
    MAX_LOG_MESSAGE,
    MAX_LOGGER_NAME,
    MAX_NAME,
    MAX_NODES,
    MAX_PATH,
    MAX_PATH_VALUES,
    MAX_SETTINGS_BYTES,
    MAX_URL_PART,
    MAX_WORD,
)
from protocol.plain import utf8_size

__all__ = [
    "ERROR_CODES",
    "EXIT_OUT_OF_TIME",
    "LOG_LEVELS",
    "VALUE_KINDS",
    "Body",
    "BodyEnd",
    "Cancel",
    "Chunk",
    "Credit",
    "End",
    "Error",
    "Headers",
    "Invoke",
    "Log",
    "Message",
    "PathValue",
    "Ready",
    "Response",
    "Scalar",
]

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
PathValue: TypeAlias = tuple[str, str, str | float]
"""(name, kind, value) of a converted path value; the kind is one of `VALUE_KINDS`."""
Scalar: TypeAlias = str | int | float | bool | None

VALUE_KINDS: Final = frozenset({"str", "int", "float", "uuid"})
"""How a path value is read: text; decimal text of an int of any size; float; canonical text of a UUID."""
ERROR_CODES: Final = frozenset({"load", "raised", "not_found", "wrong_type", "body", "cancelled", "internal"})
LOG_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})

EXIT_OUT_OF_TIME: Final = 75
"""Status with which a worker exits when something still goes on after `after_response_s`: EX_TEMPFAIL of sysexits.h."""

_MAX_PORT: Final = 65535
_MIN_STATUS: Final = 200
_MAX_STATUS: Final = 599
_MAX_AFTER_RESPONSE_S: Final = 86_400.0
"""A day."""
_MAX_TIME: Final = 2.0**40
_TRIPLE: Final = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """Supervisor: the head of the one request that this worker answers.

    Attributes:
        invocation_id: Identifier of the invocation, as in logs and problem documents.
        source: Endpoint source, relative to the plugin's root.
        method: Method, as sent by the client.
        scheme: `http` or `https`.
        server_name: Host as the client named it, without port.
        server_port: Port, 0..65535; 0 where there is none.
        root_path: What WSGI calls SCRIPT_NAME; may be empty.
        path: Path below the root path, percent-decoded.
        query: Query as it came, without `?`.
        http_version: Such as `1.1`.
        headers: Head as (name, value) pairs, repeated fields kept, in order.
        remote_addr: Address of the client, where known.
        values: Converted path values.
        settings: Settings of the hook, plain data.
        hook_id: The hook that was called.
        content_length: Bytes of body announced by the client, None if it announced none.
        has_body: Whether BODY messages may follow.
        debug: Whether error answers may show tracebacks.
        after_response_s: How long what the endpoint has started may go on after END, in seconds.
        keep: Whether the worker may say READY after END, and answer another request.
    """

    invocation_id: str
    source: str
    method: str
    scheme: str
    server_name: str
    server_port: int
    root_path: str
    path: str
    query: bytes
    http_version: str
    headers: Headers
    remote_addr: str | None
    values: tuple[PathValue, ...]
    settings: dict[str, object]
    hook_id: str
    content_length: int | None
    has_body: bool
    debug: bool
    after_response_s: float = 0.0
    keep: bool = False

    def __post_init__(self) -> None:
        check_text("invocation_id", self.invocation_id, 1, MAX_WORD)
        check_text("source", self.source, 1, MAX_PATH)
        check_token("method", self.method, MAX_WORD)
        check_text("scheme", self.scheme, 1, MAX_WORD)
        check_text("server_name", self.server_name, 0, MAX_NAME)
        check_int("server_port", self.server_port, 0, _MAX_PORT)
        check_text("root_path", self.root_path, 0, MAX_URL_PART)
        check_text("path", self.path, 0, MAX_URL_PART)
        check_bytes("query", self.query, 0, MAX_URL_PART)
        check_text("http_version", self.http_version, 1, MAX_WORD)
        check_headers(self.headers)
        if self.remote_addr is not None:
            check_text("remote_addr", self.remote_addr, 0, MAX_NAME)
        _check_values(self.values)
        check_map("settings", self.settings, MAX_NODES, MAX_SETTINGS_BYTES)
        check_text("hook_id", self.hook_id, 1, MAX_NAME)
        if self.content_length is not None:
            check_int("content_length", self.content_length, 0, MAX_ID)
        check_bool("has_body", self.has_body)
        check_bool("debug", self.debug)
        check_float("after_response_s", self.after_response_s, 0.0, _MAX_AFTER_RESPONSE_S)
        check_bool("keep", self.keep)


def _check_values(values: object) -> None:
    if type(values) is not tuple or len(values) > MAX_PATH_VALUES:
        raise LocalProtocolError(f"values: expected a tuple of at most {MAX_PATH_VALUES}")
    size = 0
    for entry in values:
        if type(entry) is not tuple or len(entry) != _TRIPLE:
            raise LocalProtocolError("values: expected (name, kind, value)")
        name, kind, value = entry
        check_text("values name", name, 1, MAX_NAME)
        check_word("values kind", kind, VALUE_KINDS)
        if kind != "float":
            check_text("values value", value, 0, MAX_URL_PART)
            size += utf8_size("values value", value)
        elif type(value) is not float:
            raise LocalProtocolError(f"values: expected float, got {type(value).__name__}")
    if size > MAX_URL_PART:
        raise LocalProtocolError(f"values: {size} bytes of UTF-8, at most {MAX_URL_PART}")


@final
@dataclass(frozen=True, slots=True)
class Body:
    """Supervisor: a piece of the request body, 1..MAX_DATA bytes, paid for with the worker's credit."""

    data: bytes

    def __post_init__(self) -> None:
        check_bytes("data", self.data, 1, MAX_DATA)


@final
@dataclass(frozen=True, slots=True)
class BodyEnd:
    """Supervisor: the request body is complete."""


@final
@dataclass(frozen=True, slots=True)
class Credit:
    """Either side: the peer may send that many more bytes of BODY or CHUNK, 1..MAX_CREDIT."""

    amount: int

    def __post_init__(self) -> None:
        check_int("amount", self.amount, 1, MAX_CREDIT)


@final
@dataclass(frozen=True, slots=True)
class Cancel:
    """Supervisor: nobody waits for the answer any more; stop. The worker is killed if it does not."""

    reason: str

    def __post_init__(self) -> None:
        check_text("reason", self.reason, 0, MAX_NAME)


@final
@dataclass(frozen=True, slots=True)
class Ready:
    """Worker: the sources have been imported; waiting for INVOKE."""


@final
@dataclass(frozen=True, slots=True)
class Response:
    """Worker: the head of the answer. The status is 200..599; fields are (name, value) pairs in order."""

    status: int
    headers: Headers

    def __post_init__(self) -> None:
        check_int("status", self.status, _MIN_STATUS, _MAX_STATUS)
        check_headers(self.headers)


@final
@dataclass(frozen=True, slots=True)
class Chunk:
    """Worker: a piece of the response body, 1..MAX_DATA bytes, paid for with the supervisor's credit."""

    data: bytes

    def __post_init__(self) -> None:
        check_bytes("data", self.data, 1, MAX_DATA)


@final
@dataclass(frozen=True, slots=True)
class End:
    """Worker: the response body is complete."""


@final
@dataclass(frozen=True, slots=True)
class Error:
    """Worker: the invocation failed, and nothing follows.

    Attributes:
        code: One of `ERROR_CODES`.
        message: For people; for `not_found` the body of the 404. At most MAX_ERROR_TEXT.
        traceback: Formatted traceback, or nothing. At most MAX_ERROR_TEXT.
    """

    code: str
    message: str
    traceback: str

    def __post_init__(self) -> None:
        check_word("code", self.code, ERROR_CODES)
        check_text("message", self.message, 0, MAX_ERROR_TEXT)
        check_text("traceback", self.traceback, 0, MAX_ERROR_TEXT)


@final
@dataclass(frozen=True, slots=True)
class Log:
    """Worker: one log record. The time is in Unix seconds, the level one of `LOG_LEVELS`."""

    time: float
    level: str
    logger: str
    message: str

    def __post_init__(self) -> None:
        check_float("time", self.time, 0.0, _MAX_TIME)
        check_word("level", self.level, LOG_LEVELS)
        check_text("logger", self.logger, 0, MAX_LOGGER_NAME)
        check_text("message", self.message, 0, MAX_LOG_MESSAGE)


Message: TypeAlias = (
    Invoke
    | Body
    | BodyEnd
    | Credit
    | CallResult
    | CallCredit
    | Cancel
    | Ready
    | Response
    | Chunk
    | End
    | Error
    | Log
    | Call
    | CallData
    | CallCancel
)
"""Whatever can be sent."""
