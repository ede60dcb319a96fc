"""Blocking input and output around the protocol, for a worker and all its threads.

Theory of operation
-------------------
Endpoint code may have threads: one streams the answer, another reads the body, a third logs. They share one
`Connection`, which knows nothing of threads, and two pipes. So:

1. All state is guarded by one re-entrant lock. Re-entrant, because a signal handler or a finaliser may log while its
   own thread is in here.
2. Nobody waits for a pipe with the lock held. Whoever has to wait takes a role, polls with the lock released, then
   moves bytes with the lock held and wakes the others, who wait for a condition meanwhile. There are two roles, each
   held by one thread at a time: *the reader* waits for input, and *the writer* for room in the outgoing pipe. A
   writer takes the reader's role too when it is free, so that a cancellation is seen; while it is not, the writer
   looks again now and then. Nobody but the reader reads: what it waits for is not taken away while it polls.
3. Both descriptors are non-blocking. What the pipe does not take at once stays in `_outgoing`, so a frame is never
   torn, not even when a wait is cut short by a cancellation.
4. Cancellation (CANCEL, the end of the supervisor's pipe, or a broken protocol) is noted when seen and raised as
   `Cancelled` where the endpoint sends body or reads body, never where it logs. From then on nothing waits: what the
   pipe does not take is kept up to a bound, then dropped.
5. Only the process that made the channel may use it. A child forked by the endpoint abandons it at once (a hook of
   `os.register_at_fork`), and any use by one that came about in another way ends in `NotTheWorkerError`.
6. Where the real SDK has replaced threads by greenlets, whoever waits does so in gevent's hub (`worker.greenlets`), so
   that the other greenlets go on. Nobody switches with the lock held. Whoever reads wakes all who sleep there.
7. What the gevent of the real SDK replaces (`select.poll`, `threading.RLock`, `os.close`, `signal.signal`, ...) is
   taken by name, here and in the zygote, before anything of the SDK is imported: we always use the original.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from os import close, getpid, set_blocking
from select import POLLIN, POLLOUT, poll
from threading import Condition, RLock, get_ident
from time import monotonic
from typing import Final

from protocol import Chunk, Connection, Message, ProtocolError, RemoteProtocolError, Role
from worker.greenlets import find_hub, sleep

__all__ = ["Cancelled", "NotTheWorkerError", "Pipes"]

READ_SIZE: Final = 65_536
"""Bytes asked of the pipe at once: the default capacity of a Linux pipe (pipe(7))."""

LAST_WORDS: Final = 65_536
"""Bytes kept for a supervisor that does not read, once the invocation is cancelled."""

HELD_MOST: Final = 65_536
"""Bytes that wait for what follows at once; more would not fit into the pipe."""

RECHECK_MS: Final = 20
"""Milliseconds after which a writer looks whether the reader's role has become free."""


class Cancelled(BaseException):
    """Nobody waits for the answer any more. Clean up and let it pass; the process is killed soon."""


class NotTheWorkerError(BaseException):
    """A process that the endpoint has forked tried to speak or read as if it were the worker."""


class Pipes(ABC):
    """The worker's end of the two pipes: who may read, who may write, and who waits for what.

    It is made before the fork, and given its pipes after it.
    """

    def __init__(self) -> None:
        self._read_fd = self._write_fd = -1
        self._pid = 0
        self._connection = Connection(Role.WORKER)
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._reader: int | None = None
        self._writer: int | None = None
        self._outgoing = bytearray()
        self._cancel_reason: str | None = None
        self._violation: ProtocolError | None = None
        self._sleepers: dict[object, Callable[[], object]] = {}

    def open(self, read_fd: int, write_fd: int) -> None:
        """Use these pipes, in this process.

        Args:
            read_fd: The supervisor writes into it. Owned.
            write_fd: The supervisor reads from it. Owned.
        """
        self._read_fd, self._write_fd = read_fd, write_fd
        self._pid = getpid()
        set_blocking(read_fd, False)
        set_blocking(write_fd, False)

    @property
    def cancel_reason(self) -> str | None:
        """Why nobody waits for the answer any more; `None` as long as somebody does, as far as is known."""
        return self._cancel_reason

    @property
    def violation(self) -> ProtocolError | None:
        """How the supervisor broke the protocol, if it did."""
        return self._violation

    @property
    def ours(self) -> bool:
        """Whether this is the process that made the channel."""
        return getpid() == self._pid

    def send(self, message: Message, *, more: bool = False) -> None:
        """Send a message, waiting until the pipe has taken it. Dropped when the supervisor has gone.

        Args:
            message: What to say.
            more: Another one follows at once: this one may wait for it, so that the supervisor wakes up once.

        Raises:
            LocalProtocolError: The message is illegal now.
        """
        self._check_process()
        with self._lock:
            self._enqueue(message, more=more)
            if not more:
                self._wait_sent()

    def abandon(self) -> None:
        """Let go of the pipes; for a process that the endpoint has forked."""
        for descriptor in (self._read_fd, self._write_fd):
            try:
                close(descriptor)
            except OSError:
                continue

    def _check_process(self) -> None:
        if getpid() != self._pid:
            raise NotTheWorkerError("only the worker itself can answer, not a process that it has forked")

    def _raise_if_cancelled(self) -> None:
        if self._cancel_reason is not None:
            raise Cancelled(self._cancel_reason)

    def _cancel(self, reason: str) -> None:
        if self._cancel_reason is None:
            self._cancel_reason = reason
        if len(self._outgoing) > LAST_WORDS:
            del self._outgoing[:]
        self._wake_sleepers()

    def _enqueue(self, said: Message | bytes, *, more: bool = False) -> None:
        """Say a message, or a piece of the response body: write what the pipe takes, keep the rest, or all for later.

        Args:
            said: Data of the body are within the credit, and copied by the kernel alone where the pipe takes them.
            more: Another one follows at once, as in `send`.
        """
        if self._cancel_reason is not None and len(self._outgoing) > LAST_WORDS:
            return
        try:
            if isinstance(said, bytes):
                parts: tuple[bytes, ...] = (self._connection.send_data(Chunk, len(said)), said)
                size = len(parts[0]) + len(said)
            else:
                parts = (self._connection.send(said),)
                size = len(parts[0])
        except RemoteProtocolError:
            return  # the connection is dead; the supervisor knows
        written = self._write(parts) if not self._outgoing and not more else 0
        if written == size:
            return
        self._outgoing += b"".join(parts)[written:]
        if not more or len(self._outgoing) > HELD_MOST:
            self._write_nowait()

    def _wait(self, ready: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait, with the lock held, until reading has made `ready()` true, time is over, or all is cancelled."""
        me = get_ident()
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while not ready() and self._cancel_reason is None:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return
            if (hub := find_hub()) is not None:
                self._sleep(hub, left, writing=False)
            elif self._reader in {None, me}:
                self._poll(reading=True, writing=False, timeout_s=left)
            else:
                self._changed.wait(left)

    def _wait_sent(self) -> None:
        """Wait, with the lock held, until the pipe has taken everything, or until the invocation is cancelled."""
        me = get_ident()
        while self._outgoing and self._cancel_reason is None:
            if (hub := find_hub()) is not None:
                self._sleep(hub, None, writing=True)
            elif self._writer in {None, me}:
                self._poll(reading=self._reader in {None, me}, writing=True)
            else:
                self._changed.wait()

    def _sleep(self, hub: object, timeout_s: float | None, *, writing: bool) -> None:
        """Let other greenlets run, with the lock released, until a pipe is ready, and move what can be moved."""
        self._lock.release()
        try:
            sleep(hub, self._read_fd, self._write_fd if writing else -1, timeout_s, self._sleepers)
        finally:
            self._lock.acquire()
        self._write_nowait()
        self._read_all_nowait()
        self._changed.notify_all()

    def _poll(self, *, reading: bool, writing: bool, timeout_s: float | None = None) -> None:
        """Take the roles, wait with the lock released until a pipe is ready, and move what can be moved."""
        reader, writer = self._reader, self._writer  # ours already where a signal handler has interrupted us
        poller = poll()
        if reading:
            self._reader = get_ident()
            poller.register(self._read_fd, POLLIN)
        if writing:
            self._writer = get_ident()
            poller.register(self._write_fd, POLLOUT)
        try:
            self._lock.release()
            try:
                poller.poll(RECHECK_MS if not reading else None if timeout_s is None else timeout_s * 1000)
            finally:
                self._lock.acquire()
            self._write_nowait()
            self._read_all_nowait()
        finally:
            if reading:
                self._reader = reader
            if writing:
                self._writer = writer
            self._changed.notify_all()

    def _read_all_nowait(self) -> None:
        """Take what has come, unless another thread is waiting for it."""
        while self._reader in {None, get_ident()} and self._cancel_reason is None and self._read_nowait():
            pass

    def _write_nowait(self) -> None:
        while self._outgoing and (size := self._write((self._outgoing,))):
            del self._outgoing[:size]

    def _write(self, parts: Sequence[bytes | bytearray]) -> int:
        """Write once; how many bytes need not be written any more."""
        try:
            return os.writev(self._write_fd, parts)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            self._cancel("the supervisor has gone")
            return sum(map(len, parts))

    def _read_nowait(self) -> bool:
        """Read once; whether there may be more."""
        try:
            data = os.read(self._read_fd, READ_SIZE)
        except BlockingIOError:
            return False
        try:
            self._connection.receive_data(data)
            while (message := self._connection.next_message()) is not None:
                self._dispatch(message)
            self._wake_sleepers()
        except ProtocolError as error:
            self._violation = error
            self._cancel(f"the supervisor broke the protocol: {error}")
        if not data:
            self._cancel("the supervisor has gone")
        return len(data) == READ_SIZE

    @abstractmethod
    def _dispatch(self, message: Message) -> None:
        """Take a message that has come, with the lock held."""

    def _wake_sleepers(self) -> None:
        for wake in tuple(self._sleepers.values()):
            wake()
