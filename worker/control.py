"""The loop that zygotes and slots have in common: commands in, reports out, children waited for.

Theory of operation
-------------------
One thread, one loop, two descriptors: the control socket and the wake-up pipe of SIGCHLD. Commands come as datagrams
with descriptors attached; reports go back the same way. The rules:

1. It never blocks but in `poll`. Reports that the socket does not take wait in a queue, and while many wait no
   command is read.
2. It lives as long as its control socket. When that ends, the supervisor is gone. Signals that end other programs are
   ignored, for they are sent to whole groups by terminals and service managers, while workers may still be finishing.
3. A command that cannot be understood is reported on descriptor 2 and, where it can be answered, by FORK_FAILED; it
   never ends the loop.
4. Descriptors that came with a command are closed here as soon as it was carried out, whatever its outcome.
5. Process ids are those of one's own table; the supervisor gets them as credentials, which the kernel translates.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from os import WNOHANG, close, wait4
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, poll
from signal import SIG_IGN, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, set_wakeup_fd
from signal import signal as set_handler
from socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SCM_CREDENTIALS, SOL_SOCKET, recv_fds, socket
from typing import TYPE_CHECKING, Final

from protocol import (
    MAX_CONTROL,
    ControlMessage,
    Exited,
    ForkFailed,
    ProtocolError,
    clip,
    decode_control,
    encode_control,
)
from worker.immortal import share_memory
from worker.logs import write_error

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["GROUP_SIGNALS", "ControlLoop", "describe_end"]

MAX_DESCRIPTORS: Final = 16
"""Descriptors taken with one command: more than any needs, so that a wrong number is seen as such."""

BACKLOG_HIGH: Final = 1024
"""Reports waiting for the supervisor at which no more commands are read."""

MAX_MESSAGE: Final = 4096
"""Bytes of the text of FORK_FAILED."""

GROUP_SIGNALS: Final = (SIGINT, SIGTERM, SIGHUP, SIGQUIT)
"""Signals that terminals and service managers send to whole groups of processes."""

CUT: Final = int(MSG_TRUNC | MSG_CTRUNC)
"""Flags of a command of which something is missing."""

KIB: Final = 1024


class ControlLoop:
    """One end of a control socket, and the children of this process.

    Args:
        control: Our end of the control socket. Owned.
        name: For people.

    Attributes:
        abandoned: Whether the loop ended because the supervisor went away.
    """

    def __init__(self, control: socket, name: str) -> None:
        self._control = control
        self._name = name
        self._outgoing: deque[tuple[bytes, int | None]] = deque()
        self._running = True
        self.abandoned = False
        self._wakeup_r, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watched: dict[int, Callable[[], None]] = {}
        self._events = 0
        self._poller = poll()
        self._poller.register(self._wakeup_r, POLLIN)
        control.setblocking(False)
        control.set_inheritable(False)

    def run(self, ready: ControlMessage) -> None:
        """Say `ready`, and take commands until the supervisor is gone or says so."""
        for number in GROUP_SIGNALS:
            set_handler(number, SIG_IGN)
        set_handler(SIGCHLD, _ignore)
        set_wakeup_fd(self._wakeup_w, warn_on_full_buffer=False)
        share_memory()
        self.send(ready)
        while self._running:
            self.turn()

    def watch(self, descriptor: int, handle: Callable[[], None]) -> None:
        """Have a function called whenever there is something to read from another descriptor, or its end has come."""
        self._watched[descriptor] = handle
        self._poller.register(descriptor, POLLIN)

    def forget(self, descriptor: int) -> None:
        """End what `watch` has begun, before the descriptor is closed."""
        del self._watched[descriptor]
        self._poller.unregister(descriptor)

    def takes_commands(self) -> bool:
        """Whether there is room for what another command leads to."""
        return len(self._outgoing) < BACKLOG_HIGH

    def patience_ms(self) -> float | None:
        """How long a turn may wait, in milliseconds; None for any time."""
        return None

    def turn(self) -> None:
        """Wait for something to happen, and handle it."""
        events = POLLIN if self.takes_commands() else 0
        if self._outgoing:
            events |= POLLOUT
        if events != self._events:
            self._events = events
            self._poller.register(self._control, events)
        ready = [(*event, self._watched.get(event[0])) for event in self._poller.poll(self.patience_ms())]
        for descriptor, happened, handle in ready:
            if handle is not None:
                if self._watched.get(descriptor) is handle:  # and its number has not passed to another one meanwhile
                    handle()
            elif descriptor == self._wakeup_r:
                _drain(self._wakeup_r)
                self._reap()
            else:
                if happened & POLLOUT:
                    self._flush()
                if happened & ~POLLOUT:
                    self._receive(hung_up=bool(happened & (POLLHUP | POLLERR)))

    def stop(self) -> None:
        """End the loop after this turn."""
        self._running = False

    def send(self, report: ControlMessage, *, about: int | None = None) -> None:
        """Send a report, now or as soon as the socket takes it.

        Args:
            report: What to say.
            about: Process id to attach in place of our own; it takes the rights of a user namespace's root.
        """
        self._outgoing.append((encode_control(report), about))
        self._flush()

    def fail(self, child_id: int, message: str, number: int = errno.EINVAL) -> None:
        """Report that a child could not be forked."""
        self.send(ForkFailed(id=child_id, errno=number, message=clip(message, MAX_MESSAGE)))

    def complain(self, text: str) -> None:
        """Say something to whoever reads descriptor 2."""
        write_error(f"{self._name}: {text}\n")

    def handle(self, command: ControlMessage, descriptors: Sequence[int]) -> None:
        """Carry out a command. The descriptors are closed afterwards."""
        raise NotImplementedError

    def on_ended(self, pid: int, status: int, usage: struct_rusage) -> None:
        """A child has ended and has been waited for."""
        raise NotImplementedError

    def _abandon(self) -> None:
        self.abandoned = True
        self._running = False

    def _reap(self) -> None:
        """Wait for all children that have ended."""
        while True:
            try:
                pid, status, usage = wait4(-1, WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.on_ended(pid, status, usage)

    def _receive(self, *, hung_up: bool) -> None:
        """Take one command, with its descriptors."""
        try:
            data, descriptors, flags, _ = recv_fds(self._control, MAX_CONTROL + 1, MAX_DESCRIPTORS, MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECONNRESET:  # the supervisor went away with reports of ours unread
                self.complain(f"control socket: {error}")
            self._abandon()
            return
        try:
            if not data and (hung_up or (not descriptors and self._at_end())):
                self._abandon()
            elif flags & CUT:
                self.complain("a command was too long, or had too many descriptors")
            else:
                self._decode(data, descriptors)
        finally:
            for descriptor in descriptors:
                close(descriptor)

    def _decode(self, data: bytes, descriptors: Sequence[int]) -> None:
        try:
            command = decode_control(data)
        except ProtocolError as error:
            self.complain(f"malformed command: {error}")
            return
        self.handle(command, descriptors)

    def _at_end(self) -> bool:
        """Whether an empty read was the end of the socket, and not an empty datagram."""
        poller = poll()
        poller.register(self._control, POLLRDHUP)
        return bool(poller.poll(0))

    def _flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._outgoing:
            data, about = self._outgoing[0]
            try:
                self._control.sendmsg([data], [] if about is None else [_credentials(about)])
            except BlockingIOError:
                return
            except ProcessLookupError:  # it has ended and been waited for meanwhile: there is nothing to attach
                self._outgoing[0] = (data, None)
                continue
            except OSError:  # the supervisor is gone; reading says so as well
                self._abandon()
                return
            self._outgoing.popleft()


def describe_end(child_id: int, status: int, usages: Sequence[struct_rusage], *, killed: int = 0) -> Exited:
    """Report how a child has ended, with the figures of all processes that belonged to it."""
    return Exited(
        id=child_id,
        status=status,
        utime_s=sum(usage.ru_utime for usage in usages),
        stime_s=sum(usage.ru_stime for usage in usages),
        max_rss_bytes=max(usage.ru_maxrss for usage in usages) * KIB,  # getrusage(2): kilobytes, of 1024
        minor_faults=sum(usage.ru_minflt for usage in usages),
        major_faults=sum(usage.ru_majflt for usage in usages),
        killed_descendants=killed,
    )


def _credentials(pid: int) -> tuple[int, int, bytes]:
    """Make the ancillary data that says `pid` (unix(7), SCM_CREDENTIALS)."""
    return SOL_SOCKET, SCM_CREDENTIALS, struct.pack("iII", pid, os.getuid(), os.getgid())


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor does it."""


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return
