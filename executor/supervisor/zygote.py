"""Zygotes, seen from the supervisor: the one program that it starts, and what is forked from it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgpack

from executor.supervisor.control import Child, ControlClient, ParentLostError, close_all
from protocol.control import (
    ForkFailed,
    ForkSlot,
    ForkWorker,
    ForkZygote,
    LendFolder,
    PrepareForks,
    PrepareWorker,
    StoreBytecode,
)

__all__ = ["CLEAN_ENVIRONMENT", "SlotClient", "WorkerTask", "Zygote", "make_command", "start_base_zygote"]

CLEAN_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that a zygote, and through it a worker, may know of the host's environment."""


BOOTSTRAP: Final = Path(__file__).parent.parent.parent / "worker" / "bootstrap.py"
"""What an interpreter that does not have our packages runs."""


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker is for; workers with the same task can stand in for one another.

    Attributes:
        sources: Endpoint sources to import before it is ready, relative to the plugin's folder.
        limits: What it may use, as PREPARE_WORKER names it.
        debug: Whether log records below INFO are wanted.
    """

    sources: tuple[str, ...]
    limits: dict[str, int]
    debug: bool = False


class SlotClient(ControlClient):
    """Client of one slot, the parent of one worker at a time."""

    kind = "slot"
    _task: WorkerTask | None = None

    def take_birth(self, child: Child, pid: int | None) -> None:
        """A slot attaches the process id of the worker."""
        child.pid = pid

    def fork_worker(self, task: WorkerTask, descriptors: Sequence[int]) -> Child:
        """Ask for a new worker.

        Args:
            task: What it is for.
            descriptors: The worker's ends: requests in, responses out, stdout, stderr. Taken over: they are closed
                here as soon as the slot has them, or at once when it cannot be asked.

        Raises:
            ParentLostError: There is no slot to ask.
        """
        child = self.new_child(descriptors)
        if task != self._task:
            self.send(PrepareWorker(sources=task.sources, limits=task.limits, debug=task.debug), ())
            self._task = task
        self.send(ForkWorker(child.id), descriptors)
        return child

    def take_failure(self, report: ForkFailed) -> None:
        """A worker could not be forked: the next one is prepared anew."""
        super().take_failure(report)
        self._task = None


class Zygote(ControlClient):
    """Client of one zygote: the base zygote, or that of an environment or of a plugin.

    Attributes:
        provisional: Whether another one, forked now, would make workers that cost less.
        retired: Whether it ends with the last of its children.
    """

    kind = "zygote"
    provisional = False
    retired = False

    def fork_zygote(self, command: ForkZygote, descriptors: Sequence[int] = ()) -> tuple[Child, Zygote]:
        """Ask the base zygote, or that of an environment, for another one.

        Args:
            command: What it is for; the identifier is replaced.
            descriptors: Those that FORK_ZYGOTE names after the socket. Taken over, whatever happens.

        Raises:
            OSError: No descriptors left.
            ParentLostError: There is no zygote to ask.
        """
        ours, theirs = _open_control(descriptors)
        child = self._new_parent(ours, [theirs, *descriptors])
        zygote = Zygote(command.name, ours, self._loop)
        self.send(replace(command, zygote_id=child.id), [theirs, *descriptors])
        self._bind(child, zygote)
        return child, zygote

    def fork_slot(
        self, name: str, number: int, *, groups: Sequence[int], off: Sequence[str]
    ) -> tuple[Child, SlotClient]:
        """Ask a plugin's zygote for a slot.

        Args:
            name: For people.
            number: Which host ids it has.
            groups: Descriptors of `cgroup.procs`. Taken over, whatever happens.
            off: Layers that are switched off.

        Raises:
            OSError: No descriptors left.
            ParentLostError: There is no zygote to ask.
        """
        ours, theirs = _open_control(groups)
        child = self._new_parent(ours, [theirs, *groups])
        slot = SlotClient(name, ours, self._loop)
        self.send(ForkSlot(slot_id=child.id, name=name, number=number, off=tuple(off)), [theirs, *groups])
        self._bind(child, slot)
        return child, slot

    def lend_folder(self, plugin_root: str, link_fd: int, *, copy_private: bool) -> None:
        """Have the base zygote lend a plugin's folder to a zygote of an environment.

        Args:
            plugin_root: The folder.
            link_fd: A socket whose other end that zygote gets. Taken over, whatever happens.
            copy_private: Whether workers have ids of their own.
        """
        if self.alive:
            self.send(LendFolder(plugin_root=plugin_root, copy_private=copy_private), [link_fd])
        else:
            os.close(link_fd)  # the end of the other end: it fails, with what it is forked from

    def store_bytecode(self, archive_fd: int) -> None:
        """Have a plugin's zygote let its workers have the byte code in a file, of which the zygote gets a copy.

        Raises:
            OSError: No descriptors left.
        """
        if self.alive:
            self.send(StoreBytecode(), [os.dup(archive_fd)])

    def prepare_forks(self) -> None:
        """Have the zygote of an environment do what makes all that is forked from now on cost less."""
        if self.alive:
            self.send(PrepareForks(), ())

    def retire(self) -> None:
        """Have it end once it has no children any more; nobody asks it for another one."""
        self.retired = True
        self._end_if_done()

    def take_exit(self, child: Child) -> None:
        """One that is retired may have been waiting for this."""
        super().take_exit(child)
        self._loop.call_soon(self._end_if_done)

    def _end_if_done(self) -> None:
        if self.retired and not self._children:
            self.close()

    def _new_parent(self, ours: socket.socket, descriptors: Sequence[int]) -> Child:
        try:
            return self.new_child(descriptors)
        except ParentLostError:
            ours.close()
            raise

    def _bind(self, child: Child, client: ControlClient) -> None:
        """Have each of the two ends of a child's life followed by the other: its socket's, and its process's."""
        client.lost.add_done_callback(lambda _: self.kill(child))  # it ends by itself, unless it hangs
        child.exited.add_done_callback(lambda _: client.take_end(child.failure))


def _open_control(groups: Sequence[int]) -> tuple[socket.socket, int]:
    """Open a control socket: our end, and the descriptor of theirs; close the others if that fails."""
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        close_all(groups)
        raise
    return ours, theirs.detach()


def start_base_zygote(
    loop: asyncio.AbstractEventLoop, group_folders: Sequence[str], interpreter: Path | None = None
) -> tuple[Zygote, subprocess.Popen[bytes]]:
    """Execute the base zygote with a clean environment and return its client and its process.

    The caller waits for the process once the zygote is lost or closed.

    Args:
        loop: The event loop of the supervisor.
        group_folders: Control groups that it removes at its end, in case the supervisor cannot.
        interpreter: What runs it; not given: ours, in our own environment.

    Raises:
        OSError: No descriptors, memory or processes left, or no such interpreter.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = subprocess.Popen(
                [*make_command(interpreter), str(theirs.fileno()), *group_folders],
                pass_fds=[theirs.fileno()],
                env=CLEAN_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return Zygote("base" if interpreter is None else f"base {interpreter.name}", ours, loop), process


def make_command(interpreter: Path | None) -> list[str]:
    """The program that is a base zygote: our own, or another interpreter that borrows our code."""
    if interpreter is None:
        return [sys.executable, "-I", "-X", "utf8", "-m", "worker"]
    packages = Path(msgpack.__file__).parent.parent
    return [str(interpreter), "-I", "-S", "-X", "utf8", str(BOOTSTRAP), str(packages)]
