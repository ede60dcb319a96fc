"""A workshop: a place where programs of strangers may build an environment, and reach nothing else.

Theory of operation
-------------------
Installing a source distribution runs its code. So does importing what was installed. Both happen here, and nowhere
else; what is installed is taken out by the executor, which runs none of it.

    entrance           started by the executor with a clean environment; has its rights; waits for what it has forked
    └─ room            (`worker.workshop.room`) makes the layers, and waits
       └─ process 1    keeps order: runs one command after another, and kills what a command leaves
          └─ command   without any rights: uv, and all that uv starts

The room is born as plugin zygotes are (`worker.birth`): in a table of its own, with the view of the files, as a user
that nobody else on the host is; process 1 has a table below that one, as slots have. Unlike a worker's, the view has
one folder of the host that can be written, at the path that the environment will have; and there is a loopback, on
which one socket listens. The socket belongs to the executor, which gets it when it was made: who connects to it speaks
to the executor, and there is nobody else to speak to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from socket import SOCK_SEQPACKET, socket

from worker.birth import fork_zygote
from worker.delivery import BirthError
from worker.descriptors import close_other_descriptors
from worker.kernel import adopt_orphans, set_process_name
from worker.lockdown.seccomp import UnsupportedMachineError, load_program
from worker.user_namespace import WORKER_ID, IdBlock, Mapper
from worker.view import ViewError
from worker.workshop.messages import FAILED, TASK, Task, receive, send
from worker.workshop.room import run_room

__all__ = ["run_workshop"]


@dataclass(frozen=True, slots=True)
class _TwoIds(IdBlock):
    """The host ids of a workshop: of process 1, and of what it runs."""

    def zygote_map(self) -> str:
        return f"0 {self.first} 1\n{WORKER_ID} {self.first + 1} 1"


def run_workshop(control_fd: int) -> int:
    """Do what is asked for on a SOCK_SEQPACKET socket, until it ends.

    Args:
        control_fd: The socket. Owned.

    Returns:
        The exit status.
    """
    link = socket(fileno=control_fd)
    if link.type != SOCK_SEQPACKET:
        return os.EX_USAGE
    link.set_inheritable(False)
    set_process_name("ee-workshop")
    adopt_orphans()
    try:
        message, groups = receive(link)
        if message["kind"] != TASK:
            return os.EX_PROTOCOL
        task = Task.from_message(message)
        program = load_program("build")

        def be(mapper: Mapper | None) -> int:
            close_other_descriptors({0, 1, 2, link.fileno(), *groups, *(mapper.descriptors if mapper else ())})
            return run_room(link, task, groups, mapper, program)

        pid = fork_zygote(be, _TwoIds(task.first_id, 2 if task.first_id else 0))
    except (EOFError, OSError):
        return os.EX_UNAVAILABLE
    except (BirthError, ViewError, UnsupportedMachineError) as error:
        send(link, FAILED, text=str(error))
        return os.EX_OSERR
    link.close()
    for descriptor in groups:
        os.close(descriptor)
    ended = status = 0
    while ended != pid:  # whoever has forked it ends first, and only then it is ours
        ended, status = os.wait()
    return os.waitstatus_to_exitcode(status) & 0xFF
