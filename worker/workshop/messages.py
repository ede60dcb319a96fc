"""What the executor and a workshop say to each other: maps of msgpack, one a datagram, with descriptors attached.

    executor to workshop    TASK      trees, folder, target, first_id, off, scratch; descriptors: of control groups
                            COMMAND   argv, env, cwd, limits; descriptors: where its output goes, alone
                            SEAL      take the network away from commands that follow
    workshop to executor    READY     layers; descriptors: the socket that listens in there
                            ENDED     status, cpu_s, memory_kib: of a command, and all that it has left running
                            FAILED    text

The end of the socket ends the workshop, with everything that runs in it. Only the executor is trusted by the workshop,
and nothing that runs in the workshop ever has this socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from socket import MSG_CMSG_CLOEXEC, recv_fds, send_fds, socket
from typing import Any, Final

from msgpack import packb, unpackb

__all__ = ["COMMAND", "ENDED", "FAILED", "READY", "SEAL", "TASK", "Command", "Task", "receive", "send"]

TASK: Final = "task"
COMMAND: Final = "command"
SEAL: Final = "seal"
READY: Final = "ready"
ENDED: Final = "ended"
FAILED: Final = "failed"

MAX_MESSAGE: Final = 128 * 1024
MAX_DESCRIPTORS: Final = 8


@dataclass(frozen=True, slots=True)
class Task:
    """What a workshop is to be.

    Attributes:
        trees: Folders and files of the host that can be read in it.
        folder: The folder of the host that can be written in it.
        target: Where that folder is, in there.
        first_id: Host id of its process 1, and the one before that of its commands; 0 when not root of the host.
        off: Layers that are left out, to see what they are good for.
        scratch: Bytes of private files in memory.
    """

    trees: tuple[str, ...]
    folder: str
    target: str
    first_id: int
    off: frozenset[str]
    scratch: int

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Task:
        """Read one."""
        return cls(
            trees=tuple(message["trees"]),
            folder=message["folder"],
            target=message["target"],
            first_id=message["first_id"],
            off=frozenset(message["off"]),
            scratch=message["scratch"],
        )


@dataclass(frozen=True, slots=True)
class Command:
    """One program to be run.

    Attributes:
        argv: With an absolute path first.
        env: All of its environment.
        cwd: Its working directory.
        limits: As in PREPARE_WORKER.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    limits: Mapping[str, int]

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Command:
        """Read one."""
        return cls(tuple(message["argv"]), message["env"], message["cwd"], message["limits"])


def send(link: socket, kind: str, descriptors: Sequence[int] = (), **fields: object) -> None:
    """Say something.

    Raises:
        OSError: The other side is gone.
    """
    send_fds(link, [packb(fields | {"kind": kind})], descriptors)


def receive(link: socket) -> tuple[dict[str, Any], list[int]]:
    """Hear what is said next, and take the descriptors that came with it.

    Raises:
        EOFError: The other side is gone.
    """
    try:
        data, descriptors, _, _ = recv_fds(link, MAX_MESSAGE, MAX_DESCRIPTORS, MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        data, descriptors = b"", []
    if not data:
        raise EOFError
    message: dict[str, Any] = unpackb(data)
    return message, descriptors
