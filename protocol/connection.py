"""One end of a connection: messages in, bytes out, and back. It does no I/O.

    send(message)      -> bytes to write
    send_data(kind, n) -> bytes to write before n bytes of a body
    receive_data(data)    bytes that were read; b"" at the end of the stream
    next_message()     -> message, or None: more bytes are needed, or `at_eof`
    next_data(n)       -> the data of n messages of body that come next, for those who do not need the messages
    keep()                for those who read into the same memory again

INVOKE begins a request, and with it both windows begin anew on both sides. A worker that is to be kept says READY once
more after END, with no call open; all that it has granted has come before that, all that it was granted comes before
the next INVOKE.

Order of checks when sending: state, credit, encoding, calls; only then does anything change. When receiving: frame,
payload, state, credit. Whatever a peer sends, the only exception is `RemoteProtocolError`, after which the
connection is dead.
"""

from __future__ import annotations

from typing import Final, final

from protocol.calls import CALL_MESSAGES, CallTable
from protocol.codec import (
    CODES,
    DATA_MESSAGES,
    FRAME_LIMITS,
    decode_message,
    encode_data_head,
    encode_message,
    find_data,
)
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.frames import PREFACE, FrameReader
from protocol.limits import INITIAL_CREDIT, MAX_CREDIT, MAX_DATA
from protocol.messages import Body, Chunk, Credit, Invoke, Message, Ready
from protocol.states import START, Role, State, WorkerState, advance

__all__ = ["Connection", "Role"]

_BODIES: Final[dict[Role, type[Body | Chunk]]] = {Role.SUPERVISOR: Body, Role.WORKER: Chunk}
"""What the body of a request or of an answer comes in, by sender."""

_NONE_SENT: Final = (START, -1, b"")

_PEER: Final = {Role.SUPERVISOR: Role.WORKER, Role.WORKER: Role.SUPERVISOR}


@final
class Connection:
    """One end of a connection between a supervisor and a worker.

    Args:
        role: Which end this side is.

    Attributes:
        send_window: Bytes of BODY or CHUNK that this side may still send. To be looked at only.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self._peer = _PEER[role]
        self._states = START
        self._reader = FrameReader(FRAME_LIMITS[self._peer])
        self._preface = PREFACE
        self._failure: str | None = None
        self.send_window = INITIAL_CREDIT
        self._receive_window = INITIAL_CREDIT
        self._calls = CallTable()
        self._keep = False
        self._sent = _NONE_SENT
        """The states, the size and the head of the data that were sent last: those that follow are often like them."""

    @property
    def role(self) -> Role:
        """Which end this side is."""
        return self._role

    @property
    def our_state(self) -> State:
        """State of what this side sends."""
        return self._states.supervisor if self._role is Role.SUPERVISOR else self._states.worker

    @property
    def their_state(self) -> State:
        """State of what the peer sends. At the end of the stream it tells whether the peer had finished."""
        return self._states.worker if self._role is Role.SUPERVISOR else self._states.supervisor

    @property
    def receive_window(self) -> int:
        """Bytes of BODY or CHUNK that the peer may still send."""
        return self._receive_window

    @property
    def calls(self) -> CallTable:
        """The reverse calls that are open, as this side knows them. To be looked at only."""
        return self._calls

    @property
    def at_eof(self) -> bool:
        """Whether the peer's stream has ended between frames and every message in it has been returned."""
        return self._failure is None and self._reader.at_eof

    @property
    def has_more(self) -> bool:
        """Whether bytes of the peer wait that no message has come of, such as the first half of one."""
        return self._reader.holds_bytes

    def send(self, message: Message) -> bytes:
        """Return the bytes of a message, to be written whole and in order.

        The first call also gives the preface.

        Raises:
            LocalProtocolError: Illegal in this state, beyond the credit, or too large. Nothing has changed.
            RemoteProtocolError: The connection is dead.
        """
        if isinstance(message, DATA_MESSAGES):
            return b"".join((self.send_data(type(message), len(message.data)), message.data))
        if self._failure is not None:
            raise self._death()
        states = advance(self._states, self._role, type(message))
        receive_window = self._receive_window
        if isinstance(message, Credit):
            receive_window = _grant(receive_window, message.amount)
        elif isinstance(message, Ready):
            self._check_again()
        data = encode_message(self._role, message)
        if isinstance(message, CALL_MESSAGES):
            self._calls.apply(self._role, message)
        self._states, self._receive_window = states, receive_window
        if isinstance(message, Invoke):
            self._begin(message)
        return data if not self._preface else self._after_preface(data)

    def send_data(self, kind: type[Body | Chunk], size: int) -> bytes:
        """Return the bytes to be written before data of a body: both together are what `send` returns.

        Args:
            kind: The message that has them.
            size: Bytes of data, 1..MAX_DATA.

        Raises:
            LocalProtocolError: As `send`, or of another size. Nothing has changed.
            RemoteProtocolError: The connection is dead.
        """
        states, like, head = self._sent
        if like == size <= self.send_window and states is self._states and kind is _BODIES[self._role]:
            self.send_window -= size
            return head
        if self._failure is not None:
            raise self._death()
        states = advance(self._states, self._role, kind)
        if size > self.send_window:
            raise _overspent(size, self.send_window)
        if not 1 <= size <= MAX_DATA:
            raise LocalProtocolError(f"{size} bytes of data in one message, expected 1..{MAX_DATA}")
        self._states = states
        self.send_window -= size
        head = encode_data_head(self._role, kind, size)
        self._sent = (states, size, head)
        return head if not self._preface else self._after_preface(head)

    def receive_data(self, data: bytes | memoryview) -> None:
        """Take bytes that were read; `b""` marks the end of the stream.

        Call `next_message` until it returns None after each call: the buffer is bounded.

        Args:
            data: They must not change until `keep` is called.

        Raises:
            LocalProtocolError: The buffer is full, or the stream had already ended. Nothing has changed.
            RemoteProtocolError: The connection is dead.
        """
        if self._failure is not None:
            raise self._death()
        self._reader.feed(data)

    def next_message(self) -> Message | None:
        """Return the next message of the peer, or None if more bytes are needed or the stream has ended.

        Raises:
            RemoteProtocolError: The peer broke the protocol. The connection is dead: later calls raise too.
        """
        if self._failure is not None:
            raise self._death()
        try:
            return self._next_message()
        except ProtocolError as error:
            self._fail(error)
            if isinstance(error, RemoteProtocolError):
                raise
            raise RemoteProtocolError(str(error)) from error

    def next_data(self, most: int) -> bytes:
        """Return the data of at most so many messages of body that come next and are there whole; maybe none.

        What is wrong with one of them, or with what comes after them, `next_message` tells.
        """
        kind = _BODIES[self._peer]
        code = CODES[self._peer][kind]
        payloads = self._reader.next_payloads(code, most) if self._failure is None else []
        if not payloads:
            return b""
        pieces: list[memoryview] = []
        window = self._receive_window
        size, head = 0, memoryview(b"")
        try:
            self._states = advance(self._states, self._peer, kind)
            for payload in payloads:
                if len(payload) == size and payload[: len(head)] == head:  # like the one before, as most are
                    data = payload[len(head) :]
                else:
                    data = _read_data(self._peer, code, payload)
                    size, head = len(payload), payload[: len(payload) - len(data)]
                if len(data) > window:
                    raise _overspent(len(data), window)
                window -= len(data)
                pieces.append(data)
        except ProtocolError as error:
            self._fail(error)
        self._receive_window = window
        return b"".join(pieces)

    def keep(self) -> None:
        """Copy what no message has come of yet: what was given to `receive_data` may change from now on."""
        self._reader.keep()

    def _next_message(self) -> Message | None:
        frame = self._reader.next_frame()
        if frame is None:
            return None
        message = decode_message(self._peer, *frame)
        states = advance(self._states, self._peer, type(message))
        if isinstance(message, DATA_MESSAGES):
            if len(message.data) > self._receive_window:
                raise _overspent(len(message.data), self._receive_window)
            self._receive_window -= len(message.data)
        elif isinstance(message, Credit):
            self.send_window = _grant(self.send_window, message.amount)
        elif isinstance(message, CALL_MESSAGES):
            self._calls.apply(self._peer, message)
        elif isinstance(message, Ready):
            self._check_again()
        self._states = states
        if isinstance(message, Invoke):
            self._begin(message)
        return message

    def _after_preface(self, data: bytes) -> bytes:
        data, self._preface = self._preface + data, b""
        return data

    def _check_again(self) -> None:
        """Refuse another READY of a worker that is not kept, or that has calls open."""
        if self._states.worker is WorkerState.START:
            return
        if not self._keep:
            raise LocalProtocolError("Ready after End: the worker is not to be kept")
        if self._calls.count:
            raise LocalProtocolError(f"Ready after End: {self._calls.count} calls are open")

    def _begin(self, invoke: Invoke) -> None:
        """Begin anew with a request: credit of the one before, used or not, is of no consequence."""
        self.send_window = self._receive_window = INITIAL_CREDIT
        self._keep = invoke.keep

    def _fail(self, error: ProtocolError) -> None:
        self._failure = str(error)
        self._sent = _NONE_SENT

    def _death(self) -> RemoteProtocolError:
        return RemoteProtocolError(f"the connection is dead: {self._failure}")


def _read_data(sender: Role, code: int, payload: memoryview) -> memoryview:
    begin = find_data(payload)
    if begin and 1 <= len(payload) - begin <= MAX_DATA:
        return payload[begin:]
    message = decode_message(sender, code, bytes(payload))  # it says what is wrong, if anything is
    return memoryview(message.data if isinstance(message, DATA_MESSAGES) else b"")


def _overspent(size: int, window: int) -> LocalProtocolError:
    return LocalProtocolError(f"{size} bytes of data, the credit is {window}")


def _grant(window: int, amount: int) -> int:
    if window + amount > MAX_CREDIT:
        raise LocalProtocolError(f"credit: {window} + {amount} bytes, at most {MAX_CREDIT} outstanding")
    return window + amount
