"""The room of a workshop, and its process 1, which runs one command after another and cleans up after each.

Layers are applied in the order of `_LAYERS`, then each command gives up what is left of its rights in the order of
`_LOCKS`. A layer that fails ends the workshop: there is no build with fewer of them than the task says.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from select import POLLHUP, POLLIN, POLLRDHUP, poll
from socket import AF_INET, SOCK_DGRAM, SOCK_STREAM, sethostname, socket
from typing import Final

from worker.birth import EXIT_INTERNAL, end_as
from worker.delivery import BirthError, blame
from worker.descriptors import close_other_descriptors
from worker.kernel import set_process_name
from worker.lockdown.calls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    set_dumpable,
    unshare,
)
from worker.lockdown.credentials import become_unprivileged, drop_capabilities, forbid_new_privileges
from worker.lockdown.landlock import restrict_files
from worker.lockdown.limits import limit_resources
from worker.lockdown.scratch import Scratch
from worker.lockdown.seccomp import Program
from worker.user_namespace import WORKER_ID, Mapper, write_maps
from worker.view import SCRATCH_PARENT, WRITABLE_DEVICES, ViewError, build_view
from worker.workshop.messages import COMMAND, ENDED, FAILED, READY, SEAL, Command, Task, receive, send

__all__ = ["run_room"]

HOST_NAME: Final = "workshop"
_BACKLOG: Final = 64
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_MAX_USER_NAMESPACES: Final = "/proc/sys/user/max_user_namespaces"
_LANDLOCK: Final = "landlock"


@dataclass(slots=True)
class _Room:
    """What the layers need to know, and what they have made."""

    task: Task
    groups: Sequence[int]
    mapper: Mapper | None
    program: Program
    listener: socket | None = None
    port: int = 0
    notes: dict[str, str] = field(default_factory=dict)

    def join_groups(self) -> None:
        for descriptor in self.groups:
            os.write(descriptor, b"0")
            os.close(descriptor)
        self.groups = ()

    def enter_view(self) -> None:
        unshare(CLONE_NEWNS)
        if "mount_namespace" in self.task.off:
            mount(None, "/", None, flags=MS_REC | MS_PRIVATE)
            os.makedirs(self.task.target, exist_ok=True)
            mount(self.task.folder, self.task.target, None, flags=MS_BIND)
            return
        writable = {self.task.target: self.task.folder}
        os.close(build_view(self.task.trees, "", copy_private=False, writable=writable))

    def enter_user(self) -> None:
        """Be nobody of the host: as root, who is process 1 has another id than what it runs."""
        if self.mapper is not None:
            self.mapper.enter(as_root=True)
        else:
            unshare(CLONE_NEWUSER)  # a second one, so that commands are not its root
            write_maps("self", f"{WORKER_ID} 0 1", groups=False)
        unshare(CLONE_NEWNS)

    def enter_network(self) -> None:
        if "network_namespace" not in self.task.off:
            unshare(CLONE_NEWNET)
            with socket(AF_INET, SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
        self.listener = socket(AF_INET, SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(_BACKLOG)
        self.port = self.listener.getsockname()[1]

    def enter_others(self) -> None:
        unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)
        sethostname(HOST_NAME)

    def hide_others(self) -> None:
        """Forbid user namespaces below; show own processes only, and private files that go with the workshop."""
        if "mount_namespace" in self.task.off:
            return
        with open(_MAX_USER_NAMESPACES, "w", encoding="utf-8") as file:
            file.write("0")
        flags = MS_NOSUID | MS_NODEV
        mount("proc", "/proc", "proc", flags=flags | MS_NOEXEC, options="subset=pid,hidepid=ptraceable")
        Scratch().provide({"scratch_size": self.task.scratch})


_LAYERS: Final[tuple[tuple[str, Callable[[_Room], None]], ...]] = (
    ("control_groups", _Room.join_groups),
    ("mount_namespace", _Room.enter_view),
    ("user_namespace", _Room.enter_user),
    ("network_namespace", _Room.enter_network),
    ("uts_namespace", _Room.enter_others),
)
"""What the room does, in order."""


def _restrict_files(room: _Room) -> None:
    folders = (room.task.target, SCRATCH_PARENT)
    try:
        restrict_files(folders, WRITABLE_DEVICES, [room.port] if room.port else ())
    except OSError as error:
        room.notes[_LANDLOCK] = str(error)  # as for workers, it is used where the kernel has it


_LOCKS: Final[tuple[tuple[str, Callable[[_Room], None]], ...]] = (
    ("unprivileged_user", lambda _: become_unprivileged()),
    ("capabilities", lambda _: drop_capabilities()),
    ("no_new_privileges", lambda _: forbid_new_privileges()),
    (_LANDLOCK, _restrict_files),
    ("seccomp", lambda room: room.program.install()),
)
"""What a command gives up before its program begins, in order."""


def run_room(link: socket, task: Task, groups: Sequence[int], mapper: Mapper | None, program: Program) -> int:
    """Make the room, and wait until the executor is gone.

    Args:
        link: Connected to the executor. Owned.
        task: What to be.
        groups: Descriptors of control groups to join. Owned.
        mapper: Has the maps of ids written; None when not root of the host.
        program: The filter of system calls.

    Returns:
        The exit status.
    """
    set_process_name("ee-room")
    os.setsid()
    room = _Room(task, groups, mapper, program)
    try:
        for name, enter in _LAYERS:
            with blame(name):
                enter(room)
        with blame("pid_namespace"):
            unshare(CLONE_NEWPID)
            pid = os.fork()
            if pid == 0:
                end_as(lambda: _keep_order(link, room))
    except (BirthError, ViewError) as error:
        send(link, FAILED, text=str(error))
        return EXIT_INTERNAL
    set_dumpable(False)
    close_other_descriptors({0, 1, 2})
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


def _keep_order(link: socket, room: _Room) -> int:
    """Be process 1 of the table that commands are in."""
    try:
        with blame("mount_namespace"):
            room.hide_others()
    except BirthError as error:
        send(link, FAILED, text=str(error))
        return EXIT_INTERNAL
    set_dumpable(False)
    if room.listener is None:
        raise RuntimeError("there is no listener")
    send(link, READY, [room.listener.fileno()])
    room.listener.close()
    with suppress(EOFError, BrokenPipeError):
        while True:
            message, descriptors = receive(link)
            if message["kind"] == SEAL:
                room.port = 0
            elif message["kind"] == COMMAND:
                _run(link, room, Command.from_message(message), descriptors)
    return 0


def _run(link: socket, room: _Room, command: Command, descriptors: Sequence[int]) -> None:
    """Run a command, and end what it has left running."""
    (output,) = descriptors
    pid = os.fork()
    if pid == 0:
        end_as(lambda: _become(room, command, output))
    os.close(output)
    end = os.pidfd_open(pid)
    poller = poll()
    poller.register(end, POLLIN)
    poller.register(link, POLLRDHUP | POLLHUP)
    status = None
    while status is None:
        events = dict(poller.poll(1000))
        if link.fileno() in events:
            raise EOFError  # with us, the kernel ends everything
        status = _reap(pid)
    os.close(end)
    _kill_everything()
    send(link, ENDED, status=os.waitstatus_to_exitcode(status))


def _kill_everything() -> None:
    """Kill every process in our table but ourselves, and wait until they are gone; we are process 1 of it."""
    if os.getpid() != 1:
        raise RuntimeError("a room is process 1")
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.wait4(-1, 0)


def _reap(pid: int) -> int | None:
    """Take account of children and orphans that have ended; the wait status of one of them, if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while True:
            ended, status, _ = os.wait4(-1, os.WNOHANG)
            if ended == 0:
                break
            if ended == pid:
                found = status
    return found


def _become(room: _Room, command: Command, output: int) -> int:
    """Become a command: the last that is ours is the call that executes it."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    close_other_descriptors({0, 1, 2})
    if "resource_limits" not in room.task.off:
        limit_resources(command.limits)
    os.chdir(command.cwd)
    os.umask(0o022)
    for name, lock in _LOCKS:
        if name not in room.task.off:
            try:
                lock(room)
            except OSError as error:
                os.write(2, f"{name}: {error}\n".encode())
                return EXIT_INTERNAL
    try:
        os.execve(command.argv[0], command.argv, dict(command.env))  # noqa: S606 - what the executor says
    except OSError as error:
        os.write(2, f"{command.argv[0]}: {error}\n".encode())
    return EXIT_INTERNAL
