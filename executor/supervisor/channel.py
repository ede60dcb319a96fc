"""The supervisor's end of the two pipes to a worker: our half of the protocol, with its flow control.

The worker's end is `worker.channel`.

Rules of this file
------------------
1. Nothing here blocks: descriptors are non-blocking, readiness comes from the event loop.
2. Nothing a worker sends is kept without a bound: reading stops while `INBOX_HIGH` messages wait, and every message
   has passed the limits and the state table of `protocol`.
3. One readiness event does a bounded amount of work, so that a chattering worker cannot hold the event loop.
4. What breaks the protocol is told when it is seen, also while the client is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from fcntl import F_SETPIPE_SZ, fcntl
from typing import Final, Protocol

from executor.supervisor.pipes import PIPE_SIZE, close_quietly
from executor.supervisor.readiness import Readiness
from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.calls import CallState
from protocol.connection import Connection
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, StreamCutError
from protocol.messages import Credit, End, Log, Message
from protocol.states import Role, WorkerState

CallerMessage = Call | CallData | CallCredit | CallCancel
"""What a worker says about its reverse calls."""

__all__ = ["Channel", "LogSink"]

MUCH: Final = PIPE_SIZE // 4
"""Bytes at once that tell of a long answer."""

WIDE_PIPE: Final = 262_144
"""Capacity for a worker with a long answer: fewer turns of the two. A megabyte is the most without privileges."""

_INCOMING: Final = bytearray(WIDE_PIPE)
"""What was read last, of any worker. What is to be had for longer is copied before anything else is read."""

MESSAGES_PER_WAKEUP: Final = 64
INBOX_HIGH: Final = 64
"""Messages waiting for the invocation at which the worker's pipe is no longer read."""

OUTGOING_HIGH: Final = 2 * 1024**2
"""Bytes that wait for a worker to read, above which it may make no more calls. Much more than it can come to by itself:
short errors for all the calls that may be open, and a piece of each answer."""

CREDIT_STEP: Final = 131_072
"""Credit is handed out in steps of at least so many bytes, not for every chunk."""

READS_AT_ONCE: Final = 2
"""Reads of the worker's pipe when all that it has said until now is to be known."""

FINAL_READS: Final = 16
"""Reads of the pipe after the worker's exit: more than it holds."""


class LogSink(Protocol):
    """Where log messages go while others wait for the invocation."""

    def add_message(self, message: Log) -> None:
        """A `LOG` message came."""


class Channel:
    """What is said to one worker, and what it says.

    Args:
        write_fd: Our end of the pipe that it reads; owned.
        read_fd: Our end of the pipe that it writes; owned.
        readiness: Waits for the latter.
        sink: Takes log messages.
        violated: Called when the worker has broken the protocol. It is to be killed. Not called for one that was cut.

    Attributes:
        sink: May be replaced.
        violation: How the worker broke the protocol, if it did.
    """

    def __init__(
        self, write_fd: int, read_fd: int, readiness: Readiness, sink: LogSink, violated: Callable[[], None]
    ) -> None:
        self.sink = sink
        self.violation: ProtocolError | None = None
        self._write_fd = write_fd
        self._read_fd = read_fd
        self._readiness = readiness
        self._violated = violated
        self._loop = readiness.loop
        self._connection = Connection(Role.SUPERVISOR)
        self._inbox: deque[Message | bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._outgoing = bytearray()
        self._writable: asyncio.Future[None] | None = None
        self._owed_credit = 0
        self._reading = False
        self._wide = False
        self._drain_scheduled = False
        self._at_end = False
        self._closed = False
        self._take_call: Callable[[CallerMessage], None] | None = None
        self._resume_reading()

    @property
    def quiet(self) -> bool:
        """Whether nothing has come of it that was not received, neither a message nor its end."""
        return not self._inbox and not self._at_end and self.violation is None

    @property
    def was_cut(self) -> bool:
        """Whether its words ended within a frame: how its process has ended tells whether that is a violation."""
        return isinstance(self.violation, StreamCutError)

    @property
    def mid_message(self) -> bool:
        """Whether something has come that is no whole message yet, and would be the beginning of the next one."""
        return self._connection.has_more

    @property
    def send_window(self) -> int:
        """How many bytes of body the worker has room for."""
        return self._connection.send_window

    def send(self, message: Message) -> None:
        """Send a message now, or as soon as the pipe has room; never blocks.

        A worker that broke the protocol is told nothing any more: `receive` says how it ended.

        Raises:
            LocalProtocolError: The message is not legal in this state. Nothing was sent.
        """
        if self._closed or self.violation is not None:
            return
        data = self._connection.send(message)
        if not self._outgoing:
            data = data[self._write(data) :]
            if not data:
                return
            self._loop.add_writer(self._write_fd, self._on_writable)
        self._outgoing += data

    async def wait_writable(self) -> bool:
        """Wait until some body may be sent and the pipe has taken what was sent before.

        Returns:
            False when the worker will read no more.
        """
        while not self._at_end and (self._outgoing or self._connection.send_window == 0):
            await self._wait_change()
        return not self._at_end

    async def wait_drained(self) -> bool:
        """Wait until the pipe has taken what was sent before.

        Returns:
            False when the worker will read no more.
        """
        while not self._at_end and self._outgoing:
            await self._wait_change()
        return not self._at_end

    async def _wait_change(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
        await asyncio.shield(self._writable)

    def find_call(self, call_id: int) -> CallState | None:
        """Return what the protocol knows of a reverse call that is open."""
        return self._connection.calls.find(call_id)

    def serve_calls(self, take: Callable[[CallerMessage], None]) -> None:
        """Have what the worker says about reverse calls taken from now on; until then they are refused."""
        self._take_call = take

    def rest(self) -> None:
        """Be between two requests: nobody takes calls, and credit that is owed is forgotten."""
        self._take_call = None
        self._owed_credit = 0

    def read_all(self) -> None:
        """Take what has come: all of it, unless that is a flood."""
        for _ in range(READS_AT_ONCE):
            while self._drain_scheduled and not self._inbox:
                self._drain()
            if self._at_end or self._inbox or not self._on_readable():
                break

    def read_last(self) -> None:
        """Take what is left in the pipe of a worker that has ended."""
        for _ in range(FINAL_READS):
            if self._at_end or not self._on_readable():
                break

    def break_off(self, reason: str) -> None:
        """End the worker as one that broke the protocol."""
        if self.violation is None:
            self.violation = RemoteProtocolError(reason)
            self._schedule_drain()

    def receive_nowait(self) -> Message | bytes | None:
        """The next message that the worker has sent already, if any; all of its body that has come as bytes."""
        inbox = self._inbox
        if not inbox:
            return None
        message = inbox.popleft()
        if type(message) is bytes and inbox and type(inbox[0]) is bytes:
            pieces = [message]
            while inbox and type(piece := inbox[0]) is bytes:
                pieces.append(piece)
                inbox.popleft()
            message = b"".join(pieces)
        if not self._reading and len(inbox) < INBOX_HIGH // 2:
            self._schedule_drain()
        return message

    def take_end(self) -> bool:
        """Take the end of the answer, if that is what comes next and has come already; whether it was."""
        if self._inbox and type(self._inbox[0]) is End:
            self._inbox.popleft()
            return True
        return False

    async def receive(self) -> Message | bytes | None:
        """Wait for the next message, or for body.

        Returns:
            `None` at the end of the worker's pipe, or when it broke the protocol (see `violation`).
        """
        while (message := self.receive_nowait()) is None:
            if self._at_end:
                return None
            self._waiter = self._loop.create_future()
            await self._waiter
        return message

    def grant(self, amount: int) -> None:
        """Allow the worker to send `amount` more bytes of response body."""
        self._owed_credit += amount
        if self._owed_credit >= CREDIT_STEP and not self._at_end:
            with contextlib.suppress(LocalProtocolError):  # it was cancelled meanwhile
                self.send(Credit(amount=self._owed_credit))
            self._owed_credit = 0

    def close(self) -> None:
        """Close the pipes. The worker, if it still runs, sees their end. This may be called again."""
        if self._closed:
            return
        self._closed = True
        self._take_call, self._violated = None, _nobody_cares
        self._pause_reading()
        self._loop.remove_writer(self._write_fd)
        close_quietly((self._write_fd, self._read_fd))
        if not self._at_end:
            self._end()

    def _resume_reading(self) -> None:
        if not self._reading and not self._at_end and not self._closed:
            self._reading = True
            self._readiness.watch(self._read_fd, self._on_readable)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._readiness.forget(self._read_fd)

    def _on_readable(self) -> bool:
        try:
            size = os.readv(self._read_fd, (_INCOMING,))
        except BlockingIOError:
            return False
        if size >= MUCH and not self._wide:
            self._widen()
        try:
            self._connection.receive_data(memoryview(_INCOMING)[:size])
        except ProtocolError as error:
            self.violation = self.violation or error
        self._drain()
        self._connection.keep()
        return True

    def _widen(self) -> None:
        """Have more room in the pipe, unless the user may have no more of it (pipe-user-pages-soft)."""
        self._wide = True
        with contextlib.suppress(OSError):
            fcntl(self._read_fd, F_SETPIPE_SZ, WIDE_PIPE)

    def _schedule_drain(self) -> None:
        if not self._drain_scheduled and not self._at_end:
            self._drain_scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Take messages out of the connection: at most MESSAGES_PER_WAKEUP, and only while there is room."""
        self._drain_scheduled = False
        if self._at_end:
            return
        for _ in range(MESSAGES_PER_WAKEUP):
            if len(self._inbox) >= INBOX_HIGH:
                self._pause_reading()
                break
            try:
                message = self._next() if self.violation is None else None
            except ProtocolError as error:
                message, self.violation = None, error
            if message is None:
                if self.violation is not None or self._connection.at_eof:
                    if self.violation is not None and not self.was_cut:
                        self._violated()
                    self._pause_reading()
                    self._end()
                else:
                    self._resume_reading()
                break
            self._dispatch(message)
        else:
            self._pause_reading()
            self._schedule_drain()
        if self._inbox:
            self._wake()

    def _next(self) -> Message | bytes | None:
        """The next message, or what there is of the body."""
        connection = self._connection
        if connection.their_state is WorkerState.RESPONDING and (data := connection.next_data(MESSAGES_PER_WAKEUP)):
            return data
        return connection.next_message()

    def _dispatch(self, message: Message | bytes) -> None:
        match message:
            case Log():
                self.sink.add_message(message)
            case Credit():
                self._wake_writers()
            case Call() | CallData() | CallCredit() | CallCancel():
                self._dispatch_call(message)
            case _:
                self._inbox.append(message)

    def _dispatch_call(self, message: CallerMessage) -> None:
        """Hand on what is about calls; one that comes although earlier answers were not read is a flood."""
        if isinstance(message, Call) and len(self._outgoing) > OUTGOING_HIGH:
            self.violation = RemoteProtocolError("the worker makes calls without reading the answers")
        elif self._take_call is not None:
            self._take_call(message)
        elif isinstance(message, Call):
            with contextlib.suppress(LocalProtocolError):  # it was cancelled meanwhile
                self.send(CallResult(message.call_id, "error", b"there is nobody to make reverse calls to", more=False))

    def _on_writable(self) -> None:
        del self._outgoing[: self._write(self._outgoing)]
        if not self._outgoing:
            self._loop.remove_writer(self._write_fd)
            self._wake_writers()

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._write_fd, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)  # it reads no more; how it ended shows on the other pipe

    def _end(self) -> None:
        self._at_end = True
        self._wake()
        self._wake_writers()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_writers(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None


def _nobody_cares() -> None:
    """Stands for whoever was told of a broken protocol: they lead back to the channel."""
