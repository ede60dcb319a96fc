"""The template of a slot's workers: locked down like a worker, and waiting to be forked.

Theory of operation
-------------------
What a worker does to itself costs more than its fork, and most of it is inherited: identity, capabilities, Landlock,
the filter of system calls. So it is done once, by the template, which runs nothing of a plugin and never gets to see a
request. Every worker is a fork of it.

The template is outside of the table of processes that its children are born into: a worker cannot see it, nor signal
it, and when the slot kills everything in that table the template is not among it. There is one worker at a time, so
the template waits for its end and for nothing else. It lives as long as the slot, whose end of their socket tells.

    slot to template    LOOK    first of all: fork a scout, which looks at every layer as a worker would, and ends
                        PREPARE and PREPARE_WORKER as it came: what the next workers are for
                        FORK    fork a worker; descriptors: its input, output, stdout, stderr
    template to slot    LOOK and what the scout has seen, as msgpack
                        FORK and an errno, 0 when there is a worker
                        END and how the worker has ended
                        FAILED and why there will be no worker; it ends

Signals that are sent to whole groups of processes do not reach a template, as they do not end a slot, nor, by that, a
worker that is about to finish; they are blocked, and unblocked by each worker.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from os import close, dup2, wait4
from resource import struct_rusage
from signal import (
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIGCHLD,
    SIGINT,
    SIGPIPE,
    SIGXFSZ,
    default_int_handler,
    pthread_sigmask,
    set_wakeup_fd,
)
from signal import signal as set_handler
from socket import MSG_CMSG_CLOEXEC, recv_fds, socket
from typing import Final

from msgpack import packb

from protocol import MAX_CONTROL, PrepareWorker, decode_control
from worker import native
from worker.birth import EXIT_INTERNAL, end_as
from worker.control import GROUP_SIGNALS
from worker.descriptors import close_other_descriptors
from worker.environment import Serve
from worker.forking import fork_alone, has_parent_hooks, start_alone
from worker.immortal import share_memory
from worker.imports import import_namespaces
from worker.kernel import set_process_name
from worker.lockdown.calls import CLONE_NEWIPC, set_dumpable, unshare
from worker.lockdown.credentials import become_unprivileged, drop_capabilities, forbid_new_privileges
from worker.lockdown.evidence import Place, look_at_layers
from worker.lockdown.landlock import restrict_files
from worker.lockdown.limits import limit_resources, plan_limits
from worker.lockdown.seccomp import Program
from worker.process import FIRST_OTHER, Birth, become_worker, prepare_birth
from worker.view import SCRATCH_PARENT, WRITABLE_DEVICES

__all__ = [
    "END",
    "FAILED",
    "FORK",
    "LOCKS",
    "LOOK",
    "PREPARE",
    "WORKER_DESCRIPTORS",
    "decode_end",
    "decode_errno",
    "run_template",
]

TEMPLATE_NAME: Final = "ee-template"
WORKER_NAME: Final = "ee-worker"

LOOK: Final = b"L"
PREPARE: Final = b"P"
FORK: Final = b"F"
END: Final = b"E"
FAILED: Final = b"!"

WORKER_DESCRIPTORS: Final = 4
MAX_COMMAND: Final = MAX_CONTROL + len(PREPARE)
PRIVATE_UMASK: Final = 0o077

KEPT_IGNORED: Final = frozenset({SIGPIPE, SIGXFSZ})
"""Signals that Python programs expect to be ignored, so that they get an exception instead."""

_LIMITS: Final = "resource_limits"
_PROCESSES: Final = "processes"
_SCOUT_LIMITS: Final = {"processes": 128, "cpu_time": 60, "open_files": 256, "file_size": 1 << 26}
"""What a scout limits itself to, for the evidence; every worker has the limits of its hook."""

_ERRNO: Final = struct.Struct("=i")
_END: Final = struct.Struct("=i2d14q")
"""Wait status, then the fields of `struct rusage` in their order (getrusage(2))."""


@dataclass(frozen=True, slots=True)
class _Seal:
    """What the locks work on."""

    place: Place
    program: Program


def _enter_ipc(_: _Seal) -> None:
    """Leave behind every queue, semaphore and shared memory of System V and POSIX queues."""
    unshare(CLONE_NEWIPC)


def _become_unprivileged(_: _Seal) -> None:
    become_unprivileged()
    set_dumpable(False)  # a change of the user may have set it to what fs.suid_dumpable says


def _restrict_files(_: _Seal) -> None:
    restrict_files((SCRATCH_PARENT,), WRITABLE_DEVICES)


LOCKS: Final[tuple[tuple[str, Callable[[_Seal], None]], ...]] = (
    ("ipc_namespace", _enter_ipc),
    ("unprivileged_user", _become_unprivileged),
    ("capabilities", lambda _: drop_capabilities()),
    ("no_new_privileges", lambda _: forbid_new_privileges()),
    ("landlock", _restrict_files),
    ("seccomp", lambda seal: seal.program.install()),
)
"""The layers of isolation that a template applies to itself, in this order: each needs rights that a later one takes.

The limits of resources are each worker's own, see `worker.process`; all other layers are those of zygote and slot.
"""


def run_template(link: socket, root: str, *, place: Place, program: Program, serve: Serve) -> int:
    """Lock this process down, and fork workers until the slot is gone.

    Args:
        link: The other end is the slot's. Owned.
        root: The plugin's folder; empty where there is none.
        place: The slot.
        program: The filter of system calls.
        serve: Answers one invocation.

    Returns:
        The exit status.
    """
    set_process_name(TEMPLATE_NAME)
    os.setsid()
    _reset_signals()
    os.umask(PRIVATE_UMASK)
    link = _move_down(link)
    set_dumpable(False)
    slot_user = os.getuid()
    if _LIMITS not in place.off:
        limit_resources({})  # what holds for every worker
    _lock_down(_Seal(place, program))
    if link.recv(MAX_COMMAND) != LOOK:
        return 0
    try:
        birth = prepare_birth(root, serve)  # not earlier: the slot has just mounted what is seen of it
    except OSError as error:
        link.send(FAILED + str(error).encode())
        return EXIT_INTERNAL
    residents = 2 if os.getuid() == slot_user else 1
    _Template(link, place, birth, residents).serve()
    return 0


def decode_errno(data: bytes) -> int:
    """Read what FORK says: why there is no worker; 0 when there is one."""
    (code,) = _ERRNO.unpack_from(data, len(FORK))
    return int(code)


def decode_end(data: bytes) -> tuple[int, struct_rusage]:
    """Read what END says: the wait status, and what was used."""
    status, *usage = _END.unpack_from(data, len(END))
    return status, struct_rusage(usage)


def _move_down(link: socket) -> socket:
    """Give the link the lowest number that there is, and close every other descriptor but 0, 1 and 2.

    So whatever comes with a command has a low number, too, and workers close few numbers.
    """
    dup2(link.detach(), FIRST_OTHER, inheritable=False)
    close_other_descriptors({0, 1, 2, FIRST_OTHER})
    return socket(fileno=FIRST_OTHER)


def _lock_down(seal: _Seal) -> None:
    """Apply every lock; one that fails is noted, and found missing by the scout."""
    for layer, apply in LOCKS:
        if layer in seal.place.off:
            continue
        try:
            apply(seal)
        except OSError as error:
            seal.place.failed[layer] = str(error)


class _Template:
    """A process that is locked down, and what it forks.

    Args:
        link: Our end of the socket of the slot.
        place: The slot.
        birth: The next worker.
        residents: Processes that have the user of the workers without being one: the template, and rootless the slot.
    """

    def __init__(self, link: socket, place: Place, birth: Birth, residents: int) -> None:
        self._link = link
        self._place = place
        self._birth = birth
        self._residents = residents
        self._room = ctypes.create_string_buffer(MAX_COMMAND)
        self._descriptors = (ctypes.c_int * WORKER_DESCRIPTORS)()

    def serve(self) -> None:
        """Look, as the slot has said, and do what it says from then on until it is gone."""
        self._tell(LOOK + self._look())
        natively = native.serve
        while command := self._serve_by(natively) if natively and not has_parent_hooks() else self._serve():
            self._prepare(command[len(PREPARE) :])

    def _serve(self) -> bytes:
        """Fork workers until the slot says something else: what it says; nothing when it has ended."""
        while True:
            try:
                command, descriptors, _, _ = recv_fds(self._link, MAX_COMMAND, WORKER_DESCRIPTORS, MSG_CMSG_CLOEXEC)
            except ConnectionResetError:  # it has ended without having read all that was said
                return b""
            if command != FORK or len(descriptors) != WORKER_DESCRIPTORS:
                return command
            self._fork(descriptors)

    def _serve_by(self, natively: Callable[..., int]) -> bytes:
        """The same without the interpreter, which after each fork would write to sixty pages that have to be copied."""
        size = natively(self._link.fileno(), self._room, MAX_COMMAND, self._descriptors, WORKER_NAME.encode())
        if size == native.WORKER:
            self._birth.pipes = self._descriptors[:]
            end_as(partial(become_worker, self._birth))
        return ctypes.string_at(self._room, size) if size > 0 else b""

    def _tell(self, message: bytes) -> None:
        """Say something to the slot. When it has ended, the next attempt to hear from it says so."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._link.send(message)

    def _prepare(self, data: bytes) -> None:
        message = decode_control(data)
        if not isinstance(message, PrepareWorker):
            return
        if self._birth.root:
            import_namespaces(self._birth.root, message.sources)
            self._birth.loader.prepare(message.sources)
        self._birth.sources, self._birth.debug = message.sources, message.debug
        limits = message.limits
        if _PROCESSES in limits:
            limits[_PROCESSES] += self._residents  # the kernel counts those of a user
        self._birth.limits = () if _LIMITS in self._place.off else plan_limits(limits)
        share_memory()

    def _fork(self, descriptors: list[int]) -> None:
        """Fork a worker, and wait for its end."""
        self._birth.pipes = descriptors
        set_process_name(WORKER_NAME)  # for the child, whose own call would cost more
        try:
            pid = fork_alone()
        except OSError as error:
            pid, code = -1, error.errno or -1
        else:
            code = 0
        if pid == 0:
            end_as(partial(become_worker, self._birth))
        set_process_name(TEMPLATE_NAME)
        for descriptor in descriptors:
            close(descriptor)
        self._tell(FORK + _ERRNO.pack(code))
        if pid > 0:
            _, status, usage = wait4(pid, 0)
            self._tell(END + _END.pack(status, *usage))

    def _look(self) -> bytes:
        """Have a scout look at every layer from where workers are; what it has seen, as msgpack, or nothing."""
        down, up = os.pipe2(os.O_CLOEXEC)
        pid = fork_alone()
        if pid == 0:
            end_as(partial(self._be_scout, up))
        close(up)
        with open(down, "rb") as file:
            seen = file.read()
        wait4(pid, 0)
        return seen

    def _be_scout(self, up: int) -> int:
        start_alone()
        if _LIMITS not in self._place.off:
            limit_resources(_SCOUT_LIMITS)
        seen = {layer: asdict(evidence) for layer, evidence in look_at_layers(self._place, _SCOUT_LIMITS).items()}
        os.write(up, packb(seen))
        return 0


def _reset_signals() -> None:
    """Undo what the zygote has set up: handlers, and the wake-up descriptor; block what is not for a template."""
    set_wakeup_fd(-1)
    for number in (SIGCHLD, *GROUP_SIGNALS):
        set_handler(number, SIG_DFL)
    set_handler(SIGINT, default_int_handler)
    for number in KEPT_IGNORED:
        set_handler(number, SIG_IGN)
    pthread_sigmask(SIG_SETMASK, GROUP_SIGNALS)
