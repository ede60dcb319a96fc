"""How zygotes and slots are born: processes that are number 1 of a process table of their own, in a user namespace.

Theory of operation
-------------------
`unshare(CLONE_NEWPID)` moves the *children* of its caller, so there is a process in between, the midwife: it makes
the namespace, forks the process that is meant, tells its number to the parent, and ends. The child becomes an orphan
that the parent, a subreaper or process 1 itself, adopts. The midwife of a slot stays and becomes the template of its
workers (`worker.template`): whatever it forks is born into the slot's table, which it is not in itself.

When a process that is number 1 ends, the kernel ends every process in its table, however deeply nested: nothing that
was born here can outlive its zygote or slot.

Who enters a user namespace cannot say by itself which ids of the outside it stands for, unless it is one's own; a
process that stays outside writes the maps. A `Mapper` is the inside's half of that conversation.

Running as root of the host, a zygote gets a block of host ids and nothing else of the host's rights, but only after it
has built its view with these rights. Otherwise the user namespace comes first, for it gives the right to build one;
when the view is there, a second one is entered, in which it cannot be changed any more. A zygote that is forked from
one that has its ids already stays in the user namespace of its parent.
"""

from __future__ import annotations

import os
from _socket import socketpair
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from os import close, fork, read, waitpid, write
from select import POLLIN, poll
from signal import SIGKILL
from socket import AF_UNIX, SOCK_SEQPACKET, socket
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from worker.lockdown.calls import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, set_dumpable, unshare
from worker.logs import write_error
from worker.tracebacks import format_error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "EXIT_INTERNAL",
    "WORKER_ID",
    "WORKER_PID",
    "BirthError",
    "IdBlock",
    "Mapper",
    "SlotBirth",
    "become_root_of_own_namespace",
    "blame",
    "end_as",
    "fork_slot",
    "fork_zygote",
    "lock_mounts",
    "write_maps",
]

EXIT_INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h: we failed, not the endpoint."""

WORKER_ID: Final = 1000
"""User and group of a worker, as it sees itself."""

WORKER_PID: Final = 2
"""Process id of every worker, as it sees itself: process 1 is its slot."""

BIRTH_TIME_MS: Final = 10_000
"""Longest wait for a midwife, in milliseconds; she takes about two."""

_MAX_REPORT: Final = 4096
_ASK: Final = b"?"
_DONE: Final = b"!"


class BirthError(Exception):
    """A process could not be born; the text begins with the layer of isolation that failed.

    Attributes:
        errno: Of the system call that failed, or 0.
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


@dataclass(frozen=True, slots=True)
class IdBlock:
    """Host ids that workers may have: `count` of them from `first` on; none when not running as root."""

    first: int
    count: int

    def zygote_map(self) -> str:
        """What the zygote's user namespace maps, when the parent has the host's ids."""
        return f"0 {self.first} {self.count}"

    def slot_map(self, number: int) -> str:
        """What a slot's user namespace maps, when the parent is a zygote: its own id 0, and its workers'."""
        if not self.count:
            return f"{WORKER_ID} 0 1"
        own = 1 + 2 * number
        if own + 1 >= self.count:
            raise BirthError(f"user_namespace: slot {number} is beyond the {self.count} ids of isolation.ids")
        return f"0 {own} 1\n{WORKER_ID} {own + 1} 1"


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Name the layer of isolation that fails if anything in here does.

    Raises:
        BirthError: Something did.
    """
    try:
        yield
    except OSError as error:
        raise BirthError(f"{name}: {error.strerror or error}", error.errno or 0) from error


class Mapper:
    """Lets a process outside write the maps of the user namespace that this process enters."""

    def __init__(self) -> None:
        self._asks_r, self._asks_w = os.pipe2(os.O_CLOEXEC)
        self._answers_r, self._answers_w = os.pipe2(os.O_CLOEXEC)

    @property
    def descriptors(self) -> set[int]:
        """What the process inside must not close before it has entered."""
        return {self._asks_w, self._answers_r}

    def enter(self, *, as_root: bool) -> None:
        """Inside: make a user namespace, have it mapped, and take its id 0 if it has one."""
        with blame("user_namespace"):
            set_dumpable(True)  # otherwise the files of this process in /proc are the host's root's
            unshare(CLONE_NEWUSER)
            write(self._asks_w, _ASK)
            if read(self._answers_r, 1) != _DONE:
                raise OSError(0, "the parent could not map any ids")
            if as_root:
                os.setgroups(())
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)

    def wait_and_map(self, pid: int, map_text: str, *, groups: bool) -> None:
        """Outside: wait for `enter`, and write the maps of process `pid`. Let go of it otherwise."""
        try:
            if _wait(self._asks_r) and read(self._asks_r, 1) == _ASK:
                write_maps(pid, map_text, groups=groups)
                write(self._answers_w, _DONE)
        finally:
            self.close()

    def leave_to_inside(self) -> None:
        """Outside: close the ends that are the inside's."""
        close(self._asks_w)
        close(self._answers_r)
        self._asks_w = self._answers_r = -1

    def close(self) -> None:
        """Close what is still open."""
        for descriptor in (self._asks_r, self._asks_w, self._answers_r, self._answers_w):
            if descriptor >= 0:
                close(descriptor)


def write_maps(pid: int | str, map_text: str, *, groups: bool) -> None:
    """Write the maps of users and groups of a process that has just entered a user namespace."""
    if not groups:
        _write_file(f"/proc/{pid}/setgroups", "deny")
    _write_file(f"/proc/{pid}/uid_map", map_text)
    _write_file(f"/proc/{pid}/gid_map", map_text)


def become_root_of_own_namespace() -> None:
    """Enter a user namespace in which this process is root, and that has no id but its own.

    Raises:
        OSError: The kernel refused.
    """
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    _write_file("/proc/self/setgroups", "deny")
    _write_file("/proc/self/uid_map", f"0 {uid} 1")
    _write_file("/proc/self/gid_map", f"0 {gid} 1")


def lock_mounts() -> None:
    """Enter a user and a mount namespace in which nobody can change what is mounted by now, whatever rights it has.

    Raises:
        BirthError: The kernel refused.
    Source: mount_namespaces(7), "Restrictions on mount namespaces".
    """
    with blame("user_namespace"):
        become_root_of_own_namespace()
    with blame("mount_namespace"):
        unshare(CLONE_NEWNS)


def fork_zygote(be: Callable[[Mapper | None], int], ids: IdBlock | None) -> int:
    """Fork a process that is number 1 of its own table and runs `be`.

    Args:
        be: Gets a mapper where the process has to enter its user namespace itself, when its view is built; its result
            is the exit status.
        ids: Host ids for the zygote and all below it; `None` where it has those of its parent, in the same user
            namespace.

    Returns:
        Its process id as seen here.

    Raises:
        BirthError: The kernel refused.
    """

    def deliver(report: int) -> int:
        if ids is not None and not ids.count:
            with blame("user_namespace"):
                become_root_of_own_namespace()
        with blame("pid_namespace"):
            unshare(CLONE_NEWPID)
        mapper = Mapper() if ids is not None and ids.count else None
        pid = fork()
        if pid == 0:
            end_as(lambda: be(mapper))
        write(report, b"%d" % pid)
        close(report)
        if mapper is not None and ids is not None:
            mapper.leave_to_inside()
            mapper.wait_and_map(pid, ids.zygote_map(), groups=True)
        return 0

    return _read_pid(_send_midwife(deliver))


class SlotBirth(Protocol):
    """What is to be born as a slot: a pair of processes, connected by a SOCK_SEQPACKET socket."""

    def settle(self) -> None:
        """Take what both will have, as root of their new user namespace.

        Raises:
            BirthError: It cannot be had.
        """

    def be_slot(self, link: socket) -> int:
        """Be process 1 of the new table; the result is the exit status."""

    def be_template(self, link: socket) -> int:
        """Be outside of the new table, which every child is born into; the result is the exit status."""


def fork_slot(birth: SlotBirth, ids: IdBlock, number: int) -> int:
    """Fork a slot: a process that is number 1 of its own table in its own user namespace, and its template.

    The template is the midwife, who stays.

    Args:
        birth: What the two do.
        ids: Those of the zygote that calls this.
        number: Which of them the slot gets.

    Returns:
        The process id of the slot as seen here. It is adopted when the template has ended.

    Raises:
        BirthError: The kernel refused.
    """
    map_text = ids.slot_map(number)
    mapper = Mapper()

    def deliver(report: int) -> int:
        mapper.enter(as_root=bool(ids.count))
        birth.settle()
        with blame("pid_namespace"):
            unshare(CLONE_NEWPID)
        ours, theirs = _make_pair()
        pid = fork()
        if pid == 0:
            theirs.close()
            end_as(lambda: birth.be_slot(ours))
        ours.close()
        write(report, b"%d" % pid)
        return birth.be_template(theirs)

    midwife, report = _send_midwife(deliver)
    mapper.leave_to_inside()
    try:
        with blame("user_namespace"):
            mapper.wait_and_map(midwife, map_text, groups=bool(ids.count))
    except BirthError:
        _dismiss(midwife, report)
        raise
    return _read_pid((midwife, report))


def _make_pair() -> tuple[socket, socket]:
    """Make a pair of sockets of the class that there was before a module, such as gevent, could replace it."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    return socket(fileno=ours.detach()), socket(fileno=theirs.detach())


def end_as(be: Callable[[], int]) -> NoReturn:
    """Run what a forked process is for, and end the process, whatever happens."""
    status = EXIT_INTERNAL
    try:
        status = be()
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the parent's loop
        write_error(format_error(error))
    finally:
        os._exit(status)


def _send_midwife(deliver: Callable[[int], int]) -> tuple[int, int]:
    """Fork a process that runs `deliver` and reports what has become of it; its id, and where its report comes."""
    report_r, report_w = os.pipe2(os.O_CLOEXEC)

    def run() -> int:
        if os.getpid() == WORKER_PID:
            return 0
        close(report_r)
        try:
            return deliver(report_w)
        except BirthError as error:
            write(report_w, f"{error.errno} {error}".encode()[:_MAX_REPORT])
            return EXIT_INTERNAL

    midwife = _fork_into(run)
    if midwife == WORKER_PID:  # a template with the number of its workers: libraries would take one for the other
        waitpid(midwife, 0)
        midwife = _fork_into(run)
    close(report_w)
    return midwife, report_r


def _fork_into(be: Callable[[], int]) -> int:
    pid = fork()
    if pid == 0:
        end_as(be)
    return pid


def _read_pid(birth: tuple[int, int]) -> int:
    """Read the midwife's report.

    Raises:
        BirthError: She had to report a failure, or said nothing.
    """
    midwife, report = birth
    text = read(report, _MAX_REPORT) if _wait(report) else b""
    if text.isdigit():
        close(report)
        return int(text)
    _dismiss(midwife, report)
    number, _, message = text.decode().partition(" ")
    raise BirthError(message or "pid_namespace: no answer", int(number or 0))


def _dismiss(midwife: int, report: int) -> None:
    """End a midwife that has failed."""
    close(report)
    os.kill(midwife, SIGKILL)
    waitpid(midwife, 0)


def _wait(descriptor: int) -> bool:
    poller = poll()
    poller.register(descriptor, POLLIN)
    return bool(poller.poll(BIRTH_TIME_MS))


def _write_file(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write(descriptor, text.encode())
    finally:
        close(descriptor)
