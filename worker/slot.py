"""A slot: the place for one worker at a time, and process 1 of the table that its workers live in.

Theory of operation
-------------------
A slot is forked once and serves one worker after another. It is two processes: the slot itself, which has rights in
its own namespaces and keeps order there, and the template (`worker.template`), which has none and forks the workers.

`settle` makes what both share: the user, network, host name and mount namespaces, and the place in a control group.
The slot adds the view of /proc, the numbering of processes and the private files, and sees to it that no worker finds
anything of the one before.

A worker is always process 2. When it has ended, or is to be killed, the slot kills everything in its table (`kill -1`
spares only process 1), waits until all of it is gone, and sets the numbering back; only then it reports EXITED. Should
the kernel not let it set the numbering back, or should workers run without the filter that keeps them from leaving
something in the namespaces, the slot serves one worker only. Private files are new for each.

The worker cannot signal process 1, and the slot is not dumpable: there is nothing of it in /proc for a worker.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import close, kill, wait4, write
from socket import send_fds, sethostname, socket
from typing import TYPE_CHECKING, Any, Final

from msgpack import unpackb

from protocol import (
    ControlMessage,
    Forked,
    ForkSlot,
    ForkWorker,
    Kill,
    PrepareWorker,
    Shutdown,
    SlotReady,
    encode_control,
)
from worker.birth import EXIT_INTERNAL, WORKER_PID
from worker.control import ControlLoop, describe_end
from worker.delivery import blame
from worker.descriptors import close_other_descriptors
from worker.environment import Serve
from worker.kernel import set_process_name
from worker.lockdown.calls import (
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    mount,
    set_dumpable,
    unshare,
)
from worker.lockdown.evidence import Origin, Place
from worker.lockdown.scratch import Scratch
from worker.lockdown.seccomp import Program
from worker.numbering import Numbering, open_numbering
from worker.template import (
    END,
    FAILED,
    FORK,
    LOOK,
    PREPARE,
    WORKER_DESCRIPTORS,
    decode_end,
    decode_errno,
    run_template,
)

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["NewSlot", "Slot"]

HOST_NAME: Final = "worker"
MAX_ANSWER: Final = 65_536
"""Bytes of what the template says at once; what a scout has seen takes two thousand."""

_FILTER: Final = "seccomp"
_MAX_USER_NAMESPACES: Final = "/proc/sys/user/max_user_namespaces"


class Slot(ControlLoop):
    """The loop of one slot.

    Args:
        control: Our end of the control socket. Owned.
        name: For people.
        link: Our end of the socket of the template. Owned.
        scratch: The private files.
        numbering: Of the processes in our table.
    """

    def __init__(
        self,
        control: socket,
        name: str,
        link: socket,
        scratch: Scratch,
        *,
        numbering: Numbering,
    ) -> None:
        super().__init__(control, f"slot {name}")
        self._link = link
        self._scratch = scratch
        self._numbering = numbering
        self._worker_pid = WORKER_PID
        self._reusable = True
        self._obstacle: OSError | None = OSError(errno.EINVAL, "nobody has said what workers are for")
        self._worker_id: int | None = None
        self._doomed = False
        self._usages: list[struct_rusage] = []
        self.watch(link.fileno(), self._hear_template)

    @property
    def reusable(self) -> bool:
        """Whether it serves one worker after another."""
        return self._reusable

    def look(self) -> dict[str, Any]:
        """Have a scout look at every layer; what it has seen. Once, before `run`.

        Raises:
            EOFError: There is no template; the text says why.
        """
        with suppress(BrokenPipeError):
            self._link.send(LOOK)
        answer = self._hear()
        if not answer.startswith(LOOK):
            raise EOFError(answer.removeprefix(FAILED).decode() or "the template has ended")
        self._clear()
        layers: dict[str, Any] = unpackb(answer.removeprefix(LOOK)) if answer != LOOK else {}
        self._reusable = _FILTER in layers and layers[_FILTER]["holds"]
        if not self._reset_numbering():
            self._reusable = False
            self._worker_pid += 1  # the scout had the number
        return layers

    def handle(self, command: ControlMessage, descriptors: Sequence[int]) -> None:
        """Have a worker forked, or end it, or stop."""
        match command:
            case ForkWorker():
                self._fork(command.worker_id, descriptors)
            case PrepareWorker():
                self._prepare(command)
            case Kill():
                if command.worker_id == self._worker_id:
                    self._doomed = True
                    _kill_everything()
            case Shutdown():
                self.stop()
            case _:
                self.complain(f"{type(command).__name__} is not for a slot")

    def on_ended(self, pid: int, status: int, usage: struct_rusage) -> None:  # noqa: ARG002 - orphans are all the same
        """Take account of what a worker has left to us."""
        self._usages.append(usage)

    def _prepare(self, command: PrepareWorker) -> None:
        """Have the template know what the next workers are for, and private files as large as they may be."""
        if self._worker_id is not None:
            self.complain("PrepareWorker: the slot has a worker")
            return
        try:
            self._scratch.provide(command.limits)
            self._link.send(PREPARE + encode_control(command))
        except OSError as error:
            self._obstacle = error
        else:
            self._obstacle = None

    def _fork(self, worker_id: int, descriptors: Sequence[int]) -> None:
        if len(descriptors) != WORKER_DESCRIPTORS:
            self.fail(worker_id, f"{len(descriptors)} descriptors came with the command, {WORKER_DESCRIPTORS} needed")
            return
        if self._worker_id is not None:
            self.fail(worker_id, "the slot has a worker")
            return
        if self._obstacle is not None:
            self.fail(worker_id, str(self._obstacle), self._obstacle.errno or 0)
            return
        try:
            send_fds(self._link, [FORK], list(descriptors))
        except OSError as error:
            self.fail(worker_id, str(error), error.errno or 0)
            return
        self._worker_id, self._doomed = worker_id, False

    def _hear(self) -> bytes:
        """Take what the template says next; nothing when it has ended."""
        try:
            return self._link.recv(MAX_ANSWER)
        except ConnectionResetError:  # it has not heard all that it was told; what it has said before is still there
            return self._link.recv(MAX_ANSWER)

    def _hear_template(self) -> None:
        said = self._hear()
        worker_id = self._worker_id
        if worker_id is None or not said:
            self.stop()  # it has ended, and with it all that this slot is good for
        elif said.startswith(END):
            status, usage = decode_end(said)
            self._bury(worker_id, status, usage)
        else:
            self._greet(worker_id, decode_errno(said))

    def _greet(self, worker_id: int, code: int) -> None:
        """Report the worker, or that there is none."""
        if code:
            self._worker_id = None
            self.fail(worker_id, f"fork: {os.strerror(code)}", code)
            return
        self.send(Forked(id=worker_id), about=self._worker_pid)
        if self._doomed:
            _kill_everything()

    def _bury(self, worker_id: int, status: int, usage: struct_rusage) -> None:
        """Report the end of the worker once everything that it has started has ended, too."""
        self._usages.insert(0, usage)
        killed = self._clear()
        renewed = self._renew_scratch()
        report = describe_end(worker_id, status, self._usages, killed=killed)
        self._worker_id = None
        self._usages = []
        self.send(report)
        if not (self._reusable and renewed and self._reset_numbering()):
            self.stop()

    def _renew_scratch(self) -> bool:
        """Have empty private files for the next worker; whether that is possible."""
        try:
            self._scratch.renew()
        except OSError as error:
            self.complain(str(error))
            return False
        return True

    def _reset_numbering(self) -> bool:
        """Have the next process be WORKER_PID again; whether that is possible."""
        return self._numbering.go_on_after(WORKER_PID - 1)

    def _clear(self) -> int:
        """Kill everything that is left in our table and wait for it; how many there were."""
        if self._numbering.last == self._worker_pid:
            return 0  # it has started neither a process nor a thread: to kill all there are costs more on a full host
        killed = 0
        while True:
            _kill_everything()
            try:
                _, _, usage = wait4(-1, 0)
            except ChildProcessError:
                return killed
            self._usages.append(usage)
            killed += 1


class NewSlot:
    """A slot and its template, being born (`worker.birth.begin_slot`).

    Args:
        command: What kind of slot.
        descriptors: The control socket, then files of the control groups to join.
        root: The plugin's folder; empty where there is none.
        origin: What the host looked like.
        program: The filter of system calls for workers.
        forget: Lets go of what belongs to the zygote.
        serve: Answers one invocation.
    """

    def __init__(
        self,
        command: ForkSlot,
        descriptors: Sequence[int],
        *,
        root: str,
        origin: Origin,
        program: Program,
        forget: Callable[[], None],
        serve: Serve,
    ) -> None:
        self._command = command
        self._control_fd, *self._groups = descriptors
        self._root = root
        self._program = program
        self._forget = forget
        self._serve = serve
        self._place = Place(origin=origin, groups=len(self._groups), off=frozenset(command.off))

    def settle(self) -> None:
        """Enter the layers that the slot and all its workers share."""
        self._forget()
        for name, enter in _LAYERS:
            if name not in self._command.off:
                try:
                    enter(self._groups)
                except OSError as error:
                    self._place.failed[name] = str(error.strerror or error)
        with blame("mount_namespace"):
            unshare(CLONE_NEWNS)
            self._scratch = Scratch()
            self._scratch.provide({})  # the template looks for the plugin, which may be shown in there
        with blame("user_namespace"), open(_MAX_USER_NAMESPACES, "w", encoding="utf-8") as file:
            file.write("0")
        for descriptor in self._groups:
            close(descriptor)

    def be_slot(self, link: socket) -> int:
        """Become process 1, and serve until the supervisor is gone or says so."""
        set_process_name(f"ee-slot {self._command.name}")
        close_other_descriptors({0, 1, 2, self._control_fd, link.fileno(), self._scratch.descriptor})
        set_dumpable(False)
        control = socket(fileno=self._control_fd)
        slot = Slot(control, self._command.name, link, self._scratch, numbering=Numbering(open_numbering()))
        try:
            _show_own_processes()
            layers = slot.look()
        except (EOFError, OSError) as error:
            slot.fail(self._command.slot_id, str(error), getattr(error, "errno", None) or 0)
            return EXIT_INTERNAL
        slot.run(SlotReady(report={"layers": layers, "reusable": slot.reusable}))
        return 0

    def be_template(self, link: socket) -> int:
        """Stay outside, and become what workers are forked from."""
        return run_template(link, self._root, place=self._place, program=self._program, serve=self._serve)


def _enter_network(_groups: Sequence[int]) -> None:
    """See no network but a loopback that is down; controlled egress would give it an interface here."""
    unshare(CLONE_NEWNET)


def _enter_uts(_groups: Sequence[int]) -> None:
    """Have a host name that tells nothing."""
    unshare(CLONE_NEWUTS)
    sethostname(HOST_NAME)


def _join_groups(groups: Sequence[int]) -> None:
    """Move into the control groups: a worker is born where its parent is, so it never has to move."""
    if not groups:
        raise OSError(0, "no control groups can be used on this host")
    for descriptor in groups:
        write(descriptor, b"0")


def _enter_cgroup(_groups: Sequence[int]) -> None:
    """Take the control groups that this process is in for the root: their names tell of the host."""
    unshare(CLONE_NEWCGROUP)


_LAYERS: Final[tuple[tuple[str, Callable[[Sequence[int]], None]], ...]] = (
    ("network_namespace", _enter_network),
    ("uts_namespace", _enter_uts),
    ("control_groups", _join_groups),
    ("cgroup_namespace", _enter_cgroup),
)
"""The layers that a slot gives to all its workers, in order. The scout looks at them."""


def _show_own_processes() -> None:
    """Show our own table in /proc, and of it only what a process may trace; nothing else that is usually there."""
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("proc", "/proc", "proc", flags=flags, options="subset=pid,hidepid=ptraceable")


def _kill_everything() -> None:
    """Kill every process in our table but ourselves; we are process 1 of it."""
    if os.getpid() != 1:
        raise RuntimeError("a slot is process 1")
    with suppress(ProcessLookupError):
        kill(-1, signal.SIGKILL)
