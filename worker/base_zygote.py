"""The base zygote: the program that is run, which is a zygote (`worker.zygote`) that sees the host.

It also removes the control groups of a supervisor that was killed before it could.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import close
from socket import SOCK_SEQPACKET, socket
from time import monotonic, sleep
from typing import Final

import msgpack

from worker.backing import back_libraries
from worker.environment import LateModules, load_runtime
from worker.forking import remember_fork_hooks
from worker.heritage import Heritage
from worker.hiding import hide_ourselves
from worker.kernel import set_process_name
from worker.lockdown.evidence import Origin
from worker.lockdown.seccomp import load_program
from worker.logs import prepare_output
from worker.view import interpreter_trees
from worker.zygote import Zygote

__all__ = ["run_base_zygote"]

ORPHAN_TIME_S: Final = 2.0
ORPHAN_PAUSE_S: Final = 0.002
"""Between the end of a control socket and the end of the process that had the other end."""


def run_base_zygote(control_fd: int, group_folders: Sequence[str], *, lent: bool = False) -> None:
    """Run the base zygote until its control socket ends.

    Args:
        control_fd: A SOCK_SEQPACKET socket. Owned.
        group_folders: Folders of control groups. Should the supervisor have ended before us, they are removed, with
            the groups right below them; otherwise it does that itself, or goes on to use them.
        lent: Whether this is the interpreter of environments of plugins (`worker.bootstrap`).

    Raises:
        OSError: The descriptor is no such socket, or there is no filter of system calls for this machine.
    """
    control = socket(fileno=_move_away(control_fd))
    if control.type != SOCK_SEQPACKET:
        raise OSError(errno.EPROTOTYPE, "the control descriptor is not a SOCK_SEQPACKET socket")
    prepare_output()
    remember_fork_hooks()
    set_process_name("ee-zygote")
    report: dict[str, object] = {
        "python": sys.version.partition(" ")[0],
        "msgpack": ".".join(map(str, msgpack.version)),
    }
    if lent:
        sys.meta_path.insert(0, LateModules())
    runtime = None if lent else load_runtime()
    program = load_program()
    hide_ourselves(lent=lent)
    heritage = Heritage(report, Origin.look(), program, interpreter_trees(), runtime)
    back_libraries()
    supervisor = os.getppid()
    zygote = Zygote(control, "base", heritage, None)
    try:
        zygote.serve()
    finally:
        if zygote.abandoned and _wait_orphaned(supervisor):
            for folder in group_folders:
                _remove_groups(folder)


def _move_away(descriptor: int) -> int:
    """Have 0, 1 and 2 open on /dev/null where they are on nothing, and the descriptor on another number."""
    moved = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
    close(descriptor)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    return moved


def _wait_orphaned(parent: int) -> bool:
    """Wait a moment for the end of the parent, whose sockets are closed before it is gone; whether it is."""
    deadline = monotonic() + ORPHAN_TIME_S
    while os.getppid() == parent:
        if monotonic() > deadline:
            return False
        sleep(ORPHAN_PAUSE_S)
    return True


def _remove_groups(folder: str) -> None:
    """Remove a folder of control groups, in which no process is left."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    os.rmdir(entry.path)
    with suppress(OSError):
        os.rmdir(folder)
