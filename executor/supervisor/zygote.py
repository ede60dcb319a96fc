"""A zygote, seen from the supervisor: a control socket, and the children that it forked for us.

Theory of operation
-------------------
The base zygote is the only process that the supervisor starts by executing a program. It imports trusted code once
and then forks on command: plugin zygotes (the same loop with more imports) and workers. Commands and reports are
datagrams on a `SOCK_SEQPACKET` socket; the descriptors that a child needs ride along with its command, so zygotes
never hold a pipe of an invocation for longer than one fork.

The zygote is the parent of its children: it alone waits for them and reports how they ended, with the figures of
`wait4`. The supervisor therefore never signals a process id that may have been reused; it asks the zygote.

Whichever side dies, the other notices: the zygote kills its children and exits when the control socket reaches its
end; the supervisor resolves the exit of every child with `None` when the zygote is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog

from protocol.control import (
    ControlMessage,
    Exited,
    Forked,
    ForkFailed,
    ForkWorker,
    ForkZygote,
    Kill,
    Shutdown,
    ZygoteReady,
    decode_control,
    encode_control,
)
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_CONTROL

__all__ = ["CLEAN_ENVIRONMENT", "Child", "Zygote", "ZygoteLostError", "start_base_zygote"]

log = structlog.get_logger("executor.zygote")

CLEAN_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that a zygote, and through it a worker, may know of the host's environment."""

REPORTS_PER_WAKEUP: Final = 64
"""Reports read at one readiness event, so that a busy zygote cannot hold the event loop."""


class ZygoteLostError(RuntimeError):
    """The zygote is gone, or did not become ready; a new one must be started."""


class Child:
    """One process forked by a zygote.

    Attributes:
        id: The supervisor's number for it, unique within its zygote.
        pid: Process id, known once the zygote has reported the fork.
        exited: How it ended; `None` when its zygote was lost before it could report that, or could not fork it.
        failure: Why there is no report, where that is known.
    """

    __slots__ = ("exited", "failure", "id", "pid")

    def __init__(self, child_id: int, loop: asyncio.AbstractEventLoop) -> None:
        self.id = child_id
        self.pid: int | None = None
        self.failure = ""
        self.exited: asyncio.Future[Exited | None] = loop.create_future()

    def _set_exit(self, report: Exited | None) -> None:
        if not self.exited.done():
            self.exited.set_result(report)


class Zygote:
    """Client of one zygote process.

    Args:
        name: For logs: `base`, or the plugin's name.
        control: Our end of the control socket. Owned: closed with the zygote.
        loop: The event loop of the supervisor.
    """

    def __init__(self, name: str, control: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.ready: asyncio.Future[ZygoteReady] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._control = control
        self._children: dict[int, Child] = {}
        self._next_id = 1
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        control.setblocking(False)
        loop.add_reader(control.fileno(), self._on_readable)

    @property
    def alive(self) -> bool:
        """Whether commands can still be sent."""
        return not self.lost.done()

    async def wait_ready(self, timeout_s: float) -> ZygoteReady:
        """Wait until the zygote has done its imports.

        Raises:
            ZygoteLostError: It ended first, or was not ready within `timeout_s` seconds.
        """
        either: set[asyncio.Future[Any]] = {self.ready, self.lost}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not self.ready.done():
            reason = "it ended" if self.lost.done() else f"not ready within {timeout_s:g} s"
            raise ZygoteLostError(f"zygote {self.name}: {reason}")
        return self.ready.result()

    def fork_worker(self, descriptors: Sequence[int]) -> Child:
        """Ask for a new worker.

        Args:
            descriptors: The worker's ends: requests in, responses out, stdout, stderr. Taken over: they are closed
                here as soon as the zygote has them, or at once when it cannot be asked.

        Raises:
            ZygoteLostError: There is no zygote to ask.
        """
        child = self._new_child(descriptors)
        self._send(ForkWorker(worker_id=child.id), descriptors)
        return child

    def fork_zygote(self, name: str, *, preload: Sequence[str], sys_path: Sequence[str]) -> tuple[Child, Zygote]:
        """Ask for a zygote that has imported the modules `preload` with `sys_path` in front of the import path."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = [theirs.detach()]
        try:
            child = self._new_child(descriptors)
        except ZygoteLostError:
            ours.close()
            raise
        command = ForkZygote(zygote_id=child.id, name=name, preload=tuple(preload), sys_path=tuple(sys_path))
        self._send(command, descriptors)
        zygote = Zygote(name, ours, self._loop)
        zygote.lost.add_done_callback(lambda _: self.kill(child))  # it ends by itself, unless it hangs
        return child, zygote

    def kill(self, child: Child) -> None:
        """Have the child and its process group killed, unless it has ended already."""
        if self.alive and not child.exited.done():
            self._send(Kill(worker_id=child.id), ())

    def give_up(self, child: Child) -> None:
        """Stop waiting for the report of a child that was killed a while ago.

        A zygote that has not even told of the fork does not work any more: it is lost, with all its children. One
        that has is left alone; the process hangs in the kernel, where nothing can end it.
        """
        log.error("zygote.no_report", zygote=self.name, pid=child.pid)
        child.failure = "killed, its end was not reported"
        if child.pid is None:
            self._lose()
        child._set_exit(None)  # noqa: SLF001 - the zygote is the one who knows

    def close(self) -> None:
        """Tell the zygote to end its children and itself; they are gone once the socket is closed."""
        if self.alive:
            with contextlib.suppress(OSError):
                self._control.send(encode_control(Shutdown()))
            self._lose()

    def _new_child(self, descriptors: Sequence[int]) -> Child:
        if not self.alive:
            _close_all(descriptors)
            raise ZygoteLostError(f"zygote {self.name} is gone")
        child = Child(self._next_id, self._loop)
        self._next_id += 1
        self._children[child.id] = child
        return child

    def _send(self, message: ControlMessage, descriptors: Sequence[int]) -> None:
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
            except OSError as error:
                log.error("zygote.send_failed", zygote=self.name, error=str(error))
                self._lose()
                return
            self._outgoing.popleft()
            _close_all(descriptors)
        self._loop.remove_writer(self._control.fileno())

    def _on_readable(self) -> None:
        for _ in range(REPORTS_PER_WAKEUP):
            try:
                data = self._control.recv(MAX_CONTROL)
            except BlockingIOError:
                return
            except OSError as error:
                log.error("zygote.receive_failed", zygote=self.name, error=str(error))
                data = b""
            if not data:
                self._lose()
                return
            try:
                self._handle(decode_control(data))
            except RemoteProtocolError as error:
                log.error("zygote.protocol", zygote=self.name, error=str(error))
                self._lose()
                return

    def _handle(self, report: ControlMessage) -> None:
        match report:
            case Exited():
                child = self._children.pop(report.id, None)
                if child is not None:
                    child._set_exit(report)  # noqa: SLF001 - the zygote is the one who knows
            case Forked():
                if report.id in self._children:
                    self._children[report.id].pid = report.pid
            case ForkFailed():
                log.error("zygote.fork_failed", zygote=self.name, error=report.message)
                child = self._children.pop(report.id, None)
                if child is not None:
                    child.failure = f"not forked: {report.message}"
                    child._set_exit(None)  # noqa: SLF001
            case ZygoteReady():
                if not self.ready.done():
                    self.ready.set_result(report)
            case _:
                raise RemoteProtocolError(f"a zygote sent {type(report).__name__}, which is a command")

    def _lose(self) -> None:
        if self.lost.done():
            return
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        for _, descriptors in self._outgoing:
            _close_all(descriptors)
        self._outgoing.clear()
        self.lost.set_result(None)
        for child in self._children.values():
            child._set_exit(None)  # noqa: SLF001
        self._children.clear()


def start_base_zygote(loop: asyncio.AbstractEventLoop) -> tuple[Zygote, subprocess.Popen[bytes]]:
    """Execute the base zygote with a clean environment and return its client and its process.

    The caller waits for the process once the zygote is lost or closed.

    Raises:
        OSError: No descriptors, memory or processes left.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", "-m", "worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=CLEAN_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return Zygote("base", ours, loop), process


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
