"""What the tests of the protocol share: a pair of connections, an example of every message, and its JSON form."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.codec import TYPES
from protocol.connection import Connection
from protocol.control import CONTROL_TYPES, ControlMessage
from protocol.errors import LocalProtocolError, RemoteProtocolError
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
from protocol.states import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

PEER: Final = {Role.SUPERVISOR: Role.WORKER, Role.WORKER: Role.SUPERVISOR}

INVOKE: Final = Invoke(
    invocation_id="0190a6b2-0000-7000-8000-000000000001",
    source="endpoints/duck.py",
    method="POST",
    scheme="http",
    server_name="localhost",
    server_port=8080,
    root_path="/e/rainbow",
    path="/duck/é",
    query=b"a=1&a=%ff",
    http_version="1.1",
    headers=((b"Host", b"localhost:8080"), (b"X-Twice", b"1"), (b"X-Twice", b"\xe9")),
    remote_addr="127.0.0.1",
    values=(("app_id", "str", "é"), ("n", "int", "1" * 40), ("f", "float", 1.5), ("u", "uuid", "0190a6b2")),
    settings={"key": "secret", "deep": [1, [True, None, {"x": 0.25}]], "big": 2**64 - 1, "raw": b"\0\xff"},
    hook_id="rainbow",
    content_length=7,
    has_body=True,
    debug=False,
    after_response_s=0.0,
    keep=True,
)
EXAMPLES: Final[dict[Role, tuple[Message, ...]]] = {
    Role.SUPERVISOR: (
        INVOKE,
        Body(b"payload"),
        BodyEnd(),
        Credit(4096),
        CallResult(1, "response", b"\x81\xa6answer\x91\x2a", more=False),
        Cancel("client gone"),
        CallCredit(1, 4096),
    ),
    Role.WORKER: (
        Ready(),
        Response(200, ((b"Content-Type", b"text/plain"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"))),
        Chunk(b"quack"),
        End(),
        Error("raised", "ValueError: é", "Traceback ..."),
        Log(1700000000.25, "info", "endpoint", "hello"),
        Call(2, "llm", 12, b"\x81\xa6prompt"),
        Credit(8192),
        CallData(1, b"\xa2hi"),
        CallCredit(1, 8192),
        CallCancel(1),
    ),
}
"""One legal message of every class that a sender has, in the order of the type bytes."""


OPEN_CALL: Final = Call(1, "llm", 12, b"\x81\xa6prompt")
"""The call that the other examples are about."""


def with_open_call(connection: Connection) -> Connection:
    """Let a connection know of a call that is open."""
    connection.calls.apply(Role.WORKER, OPEN_CALL)
    return connection


class ConnectionPair:
    """A supervisor's and a worker's end, joined: what one sends, the other receives at once."""

    def __init__(self) -> None:
        self.ends = {role: Connection(role) for role in Role}

    def move(self, sender: Role, message: Message) -> Message:
        """Carry one message over and return what arrived. Both ends agree on both states."""
        receiver = self.ends[PEER[sender]]
        receiver.receive_data(self.ends[sender].send(message))
        received = receiver.next_message()
        assert received is not None
        assert receiver.next_message() is None
        self.check_agreement()
        return received

    def walk(self, path: Iterable[tuple[Role, Message]]) -> None:
        """Carry several messages over."""
        for sender, message in path:
            self.move(sender, message)

    def check_agreement(self) -> None:
        """Check that each end knows the state and the window of the other."""
        ours, theirs = self.ends[Role.SUPERVISOR], self.ends[Role.WORKER]
        assert (ours.our_state, ours.their_state) == (theirs.their_state, theirs.our_state)
        assert (ours.send_window, ours.receive_window) == (theirs.receive_window, theirs.send_window)


INVOKED: Final[tuple[tuple[Role, Message], ...]] = (
    (Role.WORKER, Ready()),
    (Role.SUPERVISOR, INVOKE),
)
"""The way to the first message that a request is about."""


def invoked_pair() -> ConnectionPair:
    """Return a pair after INVOKE."""
    pair = ConnectionPair()
    pair.walk(INVOKED)
    return pair


def responding_pair() -> ConnectionPair:
    """Return a pair after RESPONSE."""
    pair = invoked_pair()
    pair.move(Role.WORKER, Response(200, ()))
    return pair


def changed(message: Message, /, **values: object) -> Message:
    """Return a message with other values, of any type."""
    return replace(message, **values)  # type: ignore[arg-type]  # wrong types are what is tested


CLASSES: Final[dict[str, type[Message | ControlMessage]]] = {
    row.message.__name__: row.message for rows in TYPES.values() for row in rows.values()
} | {kind.__name__: kind for kind in CONTROL_TYPES.values()}


def to_json(value: object) -> object:
    """Return the JSON form of plain data: bytes as {"hex": ...}, tuples as lists."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    return value


def message_to_json(message: Message | ControlMessage) -> dict[str, object]:
    """Return the JSON form of a message: its class under "type", and its fields."""
    shown = {field.name: to_json(getattr(message, field.name)) for field in fields(message)}
    return {"type": type(message).__name__, **shown}


def from_json(value: object) -> object:
    """Return plain data from its JSON form."""
    if isinstance(value, dict):
        if value.keys() == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return value


def message_from_json(shown: dict[str, object]) -> Message | ControlMessage:
    """Return a message from its JSON form."""
    values = {name: from_json(value) for name, value in shown.items() if name != "type"}
    for name in ("sources", "off", "headers", "values", "preload", "imports", "sys_path", "trees"):
        value = values.get(name)
        if isinstance(value, list):
            values[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return CLASSES[str(shown["type"])](**values)  # type: ignore[arg-type]  # the class checks them


def receive_all(
    connection: Connection,
    pieces: Iterable[bytes],
    replies: Iterable[tuple[int, Message]] = (),
) -> tuple[list[Message], str | None]:
    """Feed a connection, and send replies as soon as so many messages have been received.

    Returns:
        The messages, and the text of the error that ended them, if one did. Any error but the remote one escapes.
    """
    messages: list[Message] = []
    waiting = list(replies)

    def reply() -> None:
        while waiting and waiting[0][0] <= len(messages):
            try:
                connection.send(waiting.pop(0)[1])
            except LocalProtocolError:  # the stream was damaged: it is not the turn of this reply
                return

    try:
        reply()
        for piece in pieces:
            connection.receive_data(piece)
            while (message := connection.next_message()) is not None:
                messages.append(message)
                reply()
    except RemoteProtocolError as error:
        return messages, str(error)
    return messages, None


def split(data: bytes, size: int) -> list[bytes]:
    """Cut data into pieces of a size, and add the end of the stream."""
    return [*(data[start : start + size] for start in range(0, len(data), size)), b""]
