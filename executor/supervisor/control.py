"""The supervisor's end of a control socket: a zygote or a slot, and the children that it forked for us.

Theory of operation
-------------------
The base zygote is the only process that the supervisor starts by executing a program. It forks plugin zygotes, these
fork slots, and slots fork workers, each on command over a `SOCK_SEQPACKET` socket of its own. Commands and reports are
datagrams; the descriptors that a child needs ride along with its command, so nobody holds a pipe of an invocation for
longer than one fork.

Whoever forks a process is its parent: it alone waits for it and reports how it ended, with the figures of `wait4`. The
supervisor therefore never signals a process id that may have been reused; it asks the parent. Process ids come as
credentials, which the kernel translates into our process table, whatever table the sender is in.

Whichever side dies, the other notices: the far side ends what is below it when the socket reaches its end; the
supervisor resolves the exit of every child with `None` when its parent is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog

from protocol.control import (
    ControlMessage,
    Exited,
    Forked,
    ForkFailed,
    Kill,
    Shutdown,
    SlotReady,
    ZygoteReady,
    decode_control,
    encode_control,
)
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_CONTROL

__all__ = ["Child", "ControlClient", "ParentLostError", "close_all"]

log = structlog.get_logger("executor.control")

REPORTS_PER_WAKEUP: Final = 64
"""Reports read at one readiness event, so that a busy zygote cannot hold the event loop."""

FAILURES_LOGGED: Final = 64
"""Failures that are logged of one process: what comes after may be there to fill the log."""

_CREDENTIALS: Final = struct.Struct("iII")
"""`struct ucred` of unix(7): process, user and group id."""


class ParentLostError(RuntimeError):
    """A zygote or slot is gone, or did not become ready; a new one must be started."""


class Child:
    """One process forked by a zygote or a slot.

    Attributes:
        id: The supervisor's number for it, unique within its parent.
        pid: Process id, once it is known; of workers only.
        forked_at: When its parent has said that it runs, in seconds of the monotonic clock.
        exited: How it ended; `None` when its parent was lost before it could report that, or could not fork it.
        failure: Why there is no report, where that is known.
    """

    __slots__ = ("_waiter", "exited", "failure", "forked_at", "id", "pid")

    def __init__(self, child_id: int, loop: asyncio.AbstractEventLoop) -> None:
        self.id = child_id
        self.pid: int | None = None
        self.forked_at: float | None = None
        self.failure = ""
        self.exited: asyncio.Future[Exited | None] = loop.create_future()
        self._waiter: asyncio.Future[None] | None = None

    async def wait_forked(self, timeout_s: float) -> None:
        """Wait until its parent has said that it runs, or it has ended; its own word may come before its parent's."""
        if self.forked_at is None:
            if self._waiter is None:
                self._waiter = self.exited.get_loop().create_future()
            either: set[asyncio.Future[Any]] = {self._waiter, self.exited}
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    def _set_forked(self) -> None:
        self.forked_at = time.monotonic()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_exit(self, report: Exited | None) -> None:
        if not self.exited.done():
            self.exited.set_result(report)


class ControlClient:
    """Client of one process that takes commands.

    Args:
        name: For logs.
        control: Our end of the control socket. Owned: closed with the client.
        loop: The event loop of the supervisor.

    Attributes:
        ready: The report of the process, when it takes commands.
        lost: Done when it is gone.
        pid: Its process id, once it is ready.
        failure: Why it did not become ready, where it could say so.
    """

    kind = "process"

    def __init__(self, name: str, control: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.ready: asyncio.Future[dict[str, object]] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.pid: int | None = None
        self.failure = ""
        self._loop = loop
        self._control = control
        self._children: dict[int, Child] = {}
        self._next_id = 1
        self._failures = 0
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        control.setblocking(False)
        loop.add_reader(control.fileno(), self._on_readable)

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.lost.done()

    async def wait_ready(self, timeout_s: float) -> dict[str, object]:
        """Wait until it takes commands, and return its report.

        Raises:
            ParentLostError: It ended first, or was not ready within `timeout_s` seconds.
        """
        either: set[asyncio.Future[Any]] = {self.ready, self.lost}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            reason = self.failure or ("it ended" if self.lost.done() else f"not ready within {timeout_s:g} s")
            raise ParentLostError(f"{self.kind} {self.name}: {reason}")
        return self.ready.result()

    def kill(self, child: Child) -> None:
        """Have the child and all that it has started killed, unless it has ended already."""
        if self.alive and not child.exited.done():
            self.send(Kill(worker_id=child.id), ())

    def close(self) -> None:
        """Tell it to end its children and itself; they are gone once the socket is closed."""
        if self.alive:
            with contextlib.suppress(OSError):
                self._control.send(encode_control(Shutdown()))
            self._lose()

    def take_birth(self, child: Child, pid: int | None) -> None:
        """A child was forked; the credentials that came along say `pid`."""

    def take_exit(self, child: Child) -> None:
        """A child has ended, or was never forked."""

    def take_end(self, failure: str) -> None:
        """Its own parent says that it has ended, or was never forked."""
        self.failure = self.failure or failure
        self._lose()

    def new_child(self, descriptors: Sequence[int]) -> Child:
        """Take account of a child that is about to be asked for.

        Args:
            descriptors: What it would get; closed when it cannot be asked for.

        Raises:
            ParentLostError: There is nobody to ask.
        """
        if not self.alive:
            close_all(descriptors)
            raise ParentLostError(f"{self.kind} {self.name} is gone")
        child = Child(self._next_id, self._loop)
        self._next_id += 1
        self._children[child.id] = child
        return child

    def send(self, message: ControlMessage, descriptors: Sequence[int]) -> None:
        """Send a command; the descriptors are taken over, and closed as soon as they are sent, or nobody is there."""
        if not self.alive:  # since the command before this one could not be sent
            close_all(descriptors)
            return
        self._outgoing.append((encode_control(message), list(descriptors)))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                socket.send_fds(self._control, [data], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._control.fileno(), self._flush)
                return
            except (BrokenPipeError, ConnectionResetError):  # it has ended: what it had reported is still to be read
                self._drop_outgoing()
                break
            except OSError as error:
                log.error("control.send_failed", kind=self.kind, name=self.name, error=str(error))
                self._lose()
                return
            self._outgoing.popleft()
            close_all(descriptors)
        self._loop.remove_writer(self._control.fileno())

    def _on_readable(self) -> None:
        for _ in range(REPORTS_PER_WAKEUP):
            try:
                data, ancillary, _, _ = self._control.recvmsg(MAX_CONTROL, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            except OSError as error:
                if not isinstance(error, ConnectionResetError):  # it ended without having read all commands
                    log.error("control.receive_failed", kind=self.kind, name=self.name, error=str(error))
                data, ancillary = b"", []
            if not data:
                self._lose()
                return
            try:
                self._handle(decode_control(data), _read_pid(ancillary))
            except RemoteProtocolError as error:
                log.error("control.protocol", kind=self.kind, name=self.name, error=str(error))
                self._lose()
                return

    def _handle(self, report: ControlMessage, pid: int | None) -> None:
        match report:
            case Exited():
                child = self._children.pop(report.id, None)
                if child is not None:
                    child._set_exit(report)  # noqa: SLF001 - the parent is the one who knows
                    self.take_exit(child)
            case Forked():
                child = self._children.get(report.id)
                if child is not None:
                    self.take_birth(child, pid)
                    child._set_forked()  # noqa: SLF001 - as with its exit
            case ForkFailed():
                self.take_failure(report)
            case ZygoteReady() | SlotReady():
                self.pid = pid
                if not self.ready.done():
                    self.ready.set_result(report.report)
            case _:
                raise RemoteProtocolError(f"{type(report).__name__} is a command")

    def take_failure(self, report: ForkFailed) -> None:
        """Note why a child could not be forked, or, when it is no child's, why the sender itself cannot work."""
        self._failures += 1
        if self._failures <= FAILURES_LOGGED:
            log.error("control.fork_failed", kind=self.kind, name=self.name, error=report.message)
        child = self._children.pop(report.id, None)
        if child is None:
            self.failure = self.failure or report.message
        else:
            child.failure = f"not forked: {report.message}"
            child._set_exit(None)  # noqa: SLF001
            self.take_exit(child)

    def _lose(self) -> None:
        if self.lost.done():
            return
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        self._drop_outgoing()
        self.lost.set_result(None)
        for child in self._children.values():
            child._set_exit(None)  # noqa: SLF001
        self._children.clear()

    def _drop_outgoing(self) -> None:
        for _, descriptors in self._outgoing:
            close_all(descriptors)
        self._outgoing.clear()


def _read_pid(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """Find the process id among what came along with a report."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
    return None


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)
