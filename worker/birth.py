"""How zygotes and slots are born: processes that are number 1 of a process table of their own, in a user namespace.

Theory of operation
-------------------
`unshare(CLONE_NEWPID)` moves the *children* of its caller, so there is a process in between, the midwife: it makes
the namespace, forks the process that is meant, tells its number to the parent, and ends. The child becomes an orphan
that the parent, a subreaper or process 1 itself, adopts. The midwife of a slot stays and becomes the template of its
workers (`worker.template`): whatever it forks is born into the slot's table, which it is not in itself.

When a process that is number 1 ends, the kernel ends every process in its table, however deeply nested: nothing that
was born here can outlive its zygote or slot.

Running as root of the host, a zygote gets a block of host ids and nothing else of the host's rights, but only after it
has built its view with these rights. Otherwise the user namespace comes first, for it gives the right to build one;
when the view is there, a second one is entered, in which it cannot be changed any more. A zygote that is forked from
one that has its ids already stays in the user namespace of its parent.
"""

from __future__ import annotations

import os
from _socket import socketpair
from collections.abc import Callable
from os import close, fork, waitpid, write
from socket import AF_UNIX, SOCK_SEQPACKET, socket
from typing import Final, NoReturn, Protocol

from worker.delivery import MAX_REPORT, BirthError, Delivery, blame
from worker.lockdown.calls import CLONE_NEWPID, unshare
from worker.logs import write_error
from worker.tracebacks import format_error
from worker.user_namespace import IdBlock, Mapper, become_root_of_own_namespace

__all__ = ["EXIT_INTERNAL", "WORKER_PID", "SlotBirth", "begin_slot", "end_as", "fork_zygote"]

EXIT_INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h: we failed, not the endpoint."""

WORKER_PID: Final = 2
"""Process id of every worker, as it sees itself: process 1 is its slot."""


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
        OSError: No descriptors or processes left.
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

    return _send_midwife(deliver).wait()


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


def begin_slot(birth: SlotBirth, ids: IdBlock, number: int) -> Delivery:
    """Begin to fork a slot: a process that is number 1 of its own table in its own user namespace, and its template.

    The template is the midwife, who stays. Most of a birth goes on without this process.

    Args:
        birth: What the two do.
        ids: Those of the zygote that calls this.
        number: Which of them the slot gets.

    Returns:
        What gives the process id of the slot as seen here. The slot is adopted when the template has ended.

    Raises:
        BirthError: The kernel refused.
        OSError: No descriptors or processes left.
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

    try:
        delivery = _send_midwife(deliver)
    except OSError:
        mapper.close()
        raise
    mapper.leave_to_inside()
    try:
        with blame("user_namespace"):
            mapper.wait_and_map(delivery.midwife, map_text, groups=bool(ids.count))
    except BirthError:
        delivery.dismiss()
        raise
    return delivery


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


def _send_midwife(deliver: Callable[[int], int]) -> Delivery:
    """Fork a process that runs `deliver` and reports what has become of it."""
    report_r, report_w = os.pipe2(os.O_CLOEXEC)

    def run() -> int:
        if os.getpid() == WORKER_PID:
            return 0
        close(report_r)
        try:
            return deliver(report_w)
        except BirthError as error:
            write(report_w, f"{error.errno} {error}".encode()[:MAX_REPORT])
            return EXIT_INTERNAL

    try:
        midwife = _fork_into(run)
        if midwife == WORKER_PID:  # a template with the number of its workers: libraries would take one for the other
            waitpid(midwife, 0)
            midwife = _fork_into(run)
    except OSError:
        close(report_r)
        raise
    finally:
        close(report_w)
    return Delivery(midwife, report_r)


def _fork_into(be: Callable[[], int]) -> int:
    pid = fork()
    if pid == 0:
        end_as(be)
    return pid
