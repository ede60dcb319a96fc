"""A zygote: a warm process that forks workers, and other zygotes, on command.

Theory of operation
-------------------
One thread, one loop, two descriptors: the control socket and the wake-up pipe of SIGCHLD. Commands come as datagrams
with descriptors attached; reports go back the same way. The rules:

1. It never blocks but in `poll`. Reports that the socket does not take wait in a queue, and while many wait no
   command is read.
2. It lives as long as its control socket. When that ends, the supervisor is gone: every process below is killed and
   the zygote exits. Signals that end other programs are ignored, for they are sent to whole groups by terminals and
   service managers, while workers may still be finishing.
3. A command that cannot be understood is reported on descriptor 2 and, where it can be answered, by FORK_FAILED; it
   never ends the zygote.
4. It imports nothing of a plugin. What is preloaded was named by the supervisor and is trusted.
5. Descriptors that came with a command are closed here as soon as the fork is done, whatever its outcome.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from os import close, fork
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, poll
from signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, set_wakeup_fd
from signal import signal as set_handler
from socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_TRUNC, SOCK_SEQPACKET, recv_fds, socket
from typing import Final, NoReturn

import msgpack
import werkzeug

from protocol import (
    MAX_CONTROL,
    ControlMessage,
    Forked,
    ForkFailed,
    ForkWorker,
    ForkZygote,
    Kill,
    ProtocolError,
    Shutdown,
    ZygoteReady,
    clip,
    decode_control,
    encode_control,
)
from worker.children import Children
from worker.hiding import hide_ourselves
from worker.kernel import adopt_orphans, die_with_parent, set_process_name
from worker.loader import provide_sdk, sdk_version
from worker.logs import prepare_output, write_error
from worker.process import EXIT_INTERNAL, Birth, become_worker, close_other_descriptors
from worker.tracebacks import format_error
from worker.versions import installed_version

__all__ = ["Zygote", "run_base_zygote"]

MAX_DESCRIPTORS: Final = 16
"""Descriptors taken with one command: more than any needs, so that a wrong number is seen as such."""

WORKER_DESCRIPTORS: Final = 4

BACKLOG_HIGH: Final = 1024
"""Reports waiting for the supervisor at which no more commands are read."""

SHUTDOWN_TIME_S: Final = 5.0
"""Longest time for the end of all processes below."""

IGNORED_SIGNALS: Final = (SIGINT, SIGTERM, SIGHUP, SIGQUIT)

MAX_MESSAGE: Final = 4096
"""Bytes of the text of FORK_FAILED."""


class Zygote:
    """The loop of one zygote.

    Args:
        control: Our end of the control socket. Owned.
        name: For people.
        report: What ZYGOTE_READY says, and READY of its workers.
    """

    def __init__(self, control: socket, name: str, report: dict[str, object]) -> None:
        self._control = control
        self._name = name
        self._report = report
        self._pid = os.getpid()
        self._children = Children()
        self._outgoing: deque[bytes] = deque()
        self._running = True
        self._wakeup_r, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        control.setblocking(False)
        control.set_inheritable(False)

    def run(self) -> None:
        """Take commands until the supervisor is gone or says so; then end every process below."""
        adopt_orphans()
        for number in IGNORED_SIGNALS:
            set_handler(number, SIG_IGN)
        set_handler(SIGCHLD, _ignore)
        set_wakeup_fd(self._wakeup_w, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()
        self._send(ZygoteReady(pid=os.getpid(), report=self._report | {"threads": threading.active_count()}))
        try:
            while self._running:
                self.turn()
        finally:
            if not self._children.kill_all(SHUTDOWN_TIME_S):
                self._complain("some processes could not be ended")

    def turn(self) -> None:
        """Wait for something to happen, and handle it."""
        poller = poll()
        poller.register(self._wakeup_r, POLLIN)
        events = POLLIN if len(self._outgoing) < BACKLOG_HIGH else 0
        poller.register(self._control, events | (POLLOUT if self._outgoing else 0))
        linger_s = self._children.linger_s()
        ready = dict(poller.poll(None if linger_s is None else linger_s * 1000 + 1))
        if self._wakeup_r in ready:
            _drain(self._wakeup_r)
        for report in self._children.reap():
            self._send(report)
        happened = ready.get(self._control.fileno(), 0)
        if happened & POLLOUT:
            self._flush()
        if happened & ~POLLOUT:
            self._receive(hung_up=bool(happened & (POLLHUP | POLLERR)))

    def _receive(self, *, hung_up: bool) -> None:
        """Take one command, with its descriptors."""
        try:
            data, descriptors, flags, _ = recv_fds(self._control, MAX_CONTROL + 1, MAX_DESCRIPTORS, MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECONNRESET:  # the supervisor went away with reports of ours unread
                self._complain(f"control socket: {error}")
            self._running = False
            return
        try:
            if not data and (hung_up or (not descriptors and self._at_end())):
                self._running = False
            elif flags & (MSG_TRUNC | MSG_CTRUNC):
                self._complain("a command was too long, or had too many descriptors")
            else:
                self._handle(data, descriptors)
        finally:
            for descriptor in descriptors:
                close(descriptor)

    def _at_end(self) -> bool:
        """Whether an empty read was the end of the socket, and not an empty datagram."""
        poller = poll()
        poller.register(self._control, POLLRDHUP)
        return bool(poller.poll(0))

    def _handle(self, data: bytes, descriptors: Sequence[int]) -> None:
        try:
            command = decode_control(data)
        except ProtocolError as error:
            self._complain(f"malformed command: {error}")
            return
        match command:
            case ForkWorker():
                self._fork(command.worker_id, WORKER_DESCRIPTORS, descriptors, self._be_worker)
            case ForkZygote():
                self._fork(command.zygote_id, 1, descriptors, lambda given: self._be_zygote(command, given))
            case Kill():
                self._children.kill(command.worker_id)
            case Shutdown():
                self._running = False
            case _:
                self._complain(f"{type(command).__name__} is a report, not a command")

    def _fork(self, child_id: int, needed: int, descriptors: Sequence[int], be: Callable[[Sequence[int]], int]) -> None:
        """Fork a child that becomes what `be` makes of it, and report that."""
        if len(descriptors) != needed:
            message = f"{len(descriptors)} descriptors came with the command, {needed} were expected"
            self._send(ForkFailed(id=child_id, errno=errno.EINVAL, message=message))
            return
        if child_id in self._children:
            self._complain(f"identifier {child_id} is in use")
            return
        try:
            pid = fork()
        except OSError as error:
            self._send(ForkFailed(id=child_id, errno=error.errno or 0, message=clip(str(error), MAX_MESSAGE)))
            return
        if pid == 0:
            _end_as(be, descriptors)
        self._children.add(child_id, pid)
        self._send(Forked(id=child_id, pid=pid))

    def _be_worker(self, descriptors: Sequence[int]) -> int:
        requests, responses, stdout, stderr = descriptors
        pipes = (requests, responses, stdout, stderr)
        return become_worker(Birth(pipes=pipes, parent_pid=self._pid, report=self._report))

    def _be_zygote(self, command: ForkZygote, descriptors: Sequence[int]) -> int:
        set_wakeup_fd(-1)
        set_handler(SIGCHLD, SIG_DFL)
        os.setsid()
        die_with_parent(self._pid)
        close_other_descriptors({0, 1, 2, *descriptors})
        self._control.detach()
        set_process_name(f"ee-zygote {command.name}")
        sys.path[:0] = command.sys_path
        provide_sdk()
        for name in command.preload:
            importlib.import_module(name)
        _end_event_loop()
        report = self._report | {"name": command.name, "preload": list(command.preload), "sdk": sdk_version()}
        Zygote(socket(fileno=descriptors[0]), command.name, report).run()
        return 0

    def _send(self, report: ControlMessage) -> None:
        self._outgoing.append(encode_control(report))
        self._flush()

    def _flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._outgoing:
            try:
                self._control.send(self._outgoing[0])
            except BlockingIOError:
                return
            except OSError:  # the supervisor is gone; reading says so as well
                self._running = False
                return
            self._outgoing.popleft()

    def _complain(self, text: str) -> None:
        write_error(f"zygote {self._name}: {text}\n")


def run_base_zygote(control_fd: int) -> None:
    """Run the base zygote until its control socket ends.

    Args:
        control_fd: A SOCK_SEQPACKET socket. Owned.

    Raises:
        OSError: The descriptor is no such socket.
    """
    control = socket(fileno=control_fd)
    if control.type != SOCK_SEQPACKET:
        raise OSError(errno.EPROTOTYPE, "the control descriptor is not a SOCK_SEQPACKET socket")
    prepare_output()
    set_process_name("ee-zygote")
    report: dict[str, object] = {
        "python": sys.version.partition(" ")[0],
        "werkzeug": installed_version("werkzeug", werkzeug.__file__),
        "msgpack": ".".join(map(str, msgpack.version)),
    }
    hide_ourselves()
    Zygote(control, "base", report).run()


def _end_as(be: Callable[[Sequence[int]], int], descriptors: Sequence[int]) -> NoReturn:
    """Run what a forked child is for, and end the process, whatever happens."""
    status = EXIT_INTERNAL
    try:
        status = be(descriptors)
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the zygote's loop
        write_error(format_error(error))
    finally:
        os._exit(status)


def _end_event_loop() -> None:
    """Destroy the event loop that gevent, which the real SDK brings along, has opened: workers make their own.

    An inherited one would share its epoll descriptor with every sibling, and break when descriptors are closed.
    """
    gevent = sys.modules.get("gevent")
    if gevent is not None:
        gevent.get_hub().destroy(destroy_loop=True)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor does it."""


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return
