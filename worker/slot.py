"""A slot: the place for one worker at a time, and process 1 of the table that its workers live in.

Theory of operation
-------------------
A slot is forked once and serves one worker after another. What is dear to make and holds nothing of a worker is made
here, once: the user, network and host name namespaces, the place in a control group, the view of /proc. What could
carry something from one worker to the next is made anew by every worker: mounts, private files, IPC.

A worker is always process 2. When it has ended, or is to be killed, the slot kills everything in its table (`kill -1`
spares only process 1), waits until all of it is gone, and sets the numbering back; only then it reports EXITED. Should
the kernel not let it set the numbering back, or should workers run without the filter that keeps them from touching the
network namespace, the slot serves one worker only.

The worker cannot signal process 1, and the slot is not dumpable: there is nothing of it in /proc for a worker.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import close, fork, kill, wait4, write
from typing import TYPE_CHECKING, Final

from protocol import ControlMessage, Exited, Forked, ForkSlot, ForkWorker, Kill, Shutdown, SlotReady
from worker.birth import end_as
from worker.control import ControlLoop, describe_end
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
from worker.lockdown.seccomp import Program
from worker.process import Birth, become_worker

if TYPE_CHECKING:
    from resource import struct_rusage

__all__ = ["Slot", "run_slot"]

WORKER_DESCRIPTORS: Final = 4
WORKER_PID: Final = 2
HOST_NAME: Final = "worker"
_LAST_PID: Final = "/proc/sys/kernel/ns_last_pid"
_MAX_USER_NAMESPACES: Final = "/proc/sys/user/max_user_namespaces"
_NO_CHILD: Final = -1


class Slot(ControlLoop):
    """The loop of one slot.

    Args:
        control: Our end of the control socket. Owned.
        name: For people.
        be_worker: What a forked child does with its four pipes; its result is the exit status.
        last_pid_fd: The file that sets the numbering of processes, or None.
    """

    def __init__(
        self,
        control: socket.socket,
        name: str,
        be_worker: Callable[[Sequence[int]], int],
        *,
        last_pid_fd: int | None,
    ) -> None:
        super().__init__(control, f"slot {name}")
        self._be_worker = be_worker
        self._last_pid_fd = last_pid_fd
        self._worker_id: int | None = None
        self._worker_pid = _NO_CHILD
        self._usages: list[struct_rusage] = []

    def handle(self, command: ControlMessage, descriptors: Sequence[int]) -> None:
        """Fork a worker, or end it, or stop."""
        match command:
            case ForkWorker():
                self._fork(command.worker_id, descriptors)
            case Kill():
                if command.worker_id == self._worker_id:
                    _kill_everything()
            case Shutdown():
                self.stop()
            case _:
                self.complain(f"{type(command).__name__} is not for a slot")

    def on_ended(self, pid: int, status: int, usage: struct_rusage) -> None:
        """Take account; when the worker itself has ended, so has everything that it has started."""
        self._usages.append(usage)
        if pid == self._worker_pid and self._worker_id is not None:
            killed = self._clear()
            report = describe_end(self._worker_id, status, self._usages, killed=killed)
            self._forget_worker()
            self._report_exit(report)

    def _fork(self, worker_id: int, descriptors: Sequence[int]) -> None:
        if len(descriptors) != WORKER_DESCRIPTORS:
            self.fail(worker_id, f"{len(descriptors)} descriptors came with the command, {WORKER_DESCRIPTORS} needed")
            return
        if self._worker_id is not None:
            self.fail(worker_id, "the slot has a worker")
            return
        try:
            pid = fork()
        except OSError as error:
            self.fail(worker_id, str(error), error.errno or 0)
            return
        if pid == 0:
            end_as(lambda: self._be_worker(descriptors))
        self._worker_id, self._worker_pid = worker_id, pid
        self.send(Forked(id=worker_id), about=pid)

    def _clear(self) -> int:
        """Kill everything that is left in our table and wait for it; how many there were."""
        killed = 0
        while True:
            _kill_everything()
            try:
                _, _, usage = wait4(-1, 0)
            except ChildProcessError:
                return killed
            self._usages.append(usage)
            killed += 1

    def _forget_worker(self) -> None:
        self._worker_id, self._worker_pid = None, _NO_CHILD
        self._usages = []

    def _report_exit(self, report: Exited) -> None:
        """Set the numbering of processes back, and tell that the worker is gone; end where that cannot be done."""
        self.send(report)
        if self._last_pid_fd is None or not _reset_numbering(self._last_pid_fd):
            self.stop()


def run_slot(
    command: ForkSlot,
    descriptors: Sequence[int],
    report: dict[str, object],
    origin: Origin,
    program: Program,
) -> int:
    """Become a slot and serve until the supervisor is gone or says so.

    Args:
        command: What kind of slot.
        descriptors: The control socket, then files of the control groups to join. Owned.
        report: What READY of its workers says.
        origin: What the host looked like.
        program: The filter of system calls for workers.

    Returns:
        The exit status.
    """
    control = socket.socket(fileno=descriptors[0])
    set_process_name(f"ee-slot {command.name}")
    failed: dict[str, str] = {}
    for name, enter in _LAYERS:
        if name not in command.off:
            try:
                enter(descriptors[1:])
            except OSError as error:
                failed[name] = str(error.strerror or error)
    last_pid_fd = _prepare_table() if "seccomp" not in command.off else None
    _show_own_processes()
    for descriptor in descriptors[1:]:
        close(descriptor)
    set_dumpable(False)
    place = Place(origin=origin, groups=len(descriptors) - 1, failed=failed, off=frozenset(command.off))

    def be_worker(pipes: Sequence[int]) -> int:
        requests, responses, stdout, stderr = pipes
        return become_worker(
            Birth(pipes=(requests, responses, stdout, stderr), report=report, place=place, program=program)
        )

    slot = Slot(control, command.name, be_worker, last_pid_fd=last_pid_fd)
    slot.run(SlotReady(report={"failed": failed, "reusable": last_pid_fd is not None}))
    return 0


def _enter_network(_groups: Sequence[int]) -> None:
    """See no network but a loopback that is down; controlled egress would give it an interface here."""
    unshare(CLONE_NEWNET)


def _enter_uts(_groups: Sequence[int]) -> None:
    """Have a host name that tells nothing."""
    unshare(CLONE_NEWUTS)
    socket.sethostname(HOST_NAME)


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
"""The layers that a slot gives to all its workers, in order. They look at them and refuse to work without."""


def _prepare_table() -> int | None:
    """Forbid user namespaces below this one, and open the file that sets the numbering of processes, if it is there."""
    with open(_MAX_USER_NAMESPACES, "w", encoding="utf-8") as file:
        file.write("0")
    try:
        return os.open(_LAST_PID, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None  # a kernel without CONFIG_CHECKPOINT_RESTORE


def _show_own_processes() -> None:
    """Show our own table in /proc, and of it only what a process may trace; nothing else that is usually there."""
    unshare(CLONE_NEWNS)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("proc", "/proc", "proc", flags=flags, options="subset=pid,hidepid=ptraceable")


def _reset_numbering(last_pid_fd: int) -> bool:
    """Have the next process be WORKER_PID again; whether that is possible."""
    try:
        os.pwrite(last_pid_fd, b"%d" % (WORKER_PID - 1), 0)
    except OSError:
        return False
    return True


def _kill_everything() -> None:
    """Kill every process in our table but ourselves; we are process 1 of it."""
    if os.getpid() != 1:
        raise RuntimeError("a slot is process 1")
    with suppress(ProcessLookupError):
        kill(-1, signal.SIGKILL)
