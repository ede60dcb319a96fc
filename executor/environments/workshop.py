"""The executor's side of a workshop: the sandbox that builds run in (`worker.workshop`).

A workshop is a program of ours with a clean environment, which makes the room and runs one command after another in
it. Here its limits are kept: control groups where there are any, resource limits of every process, and two clocks and
a count of the disk for all of it. Whatever goes wrong, leaving the context ends everything that runs in there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import msgpack
import structlog

from executor.config.environments import BuildLimits
from executor.environments.disk import DiskWatch
from executor.environments.errors import BuildError
from executor.isolation.control_groups import ControlGroup
from executor.isolation.host import HostIsolation
from executor.supervisor.process_tree import look_at_processes

__all__ = ["Room", "Workshop", "WorkshopError"]

log = structlog.get_logger("executor.environments")

OPEN_FILES: Final = 4096
MAX_MESSAGE: Final = 128 * 1024
READ_SIZE: Final = 64 * 1024
MAX_LINE: Final = 4096
"""Characters of a line of output that are kept."""

MAX_OUTPUT: Final = 16 * 1024**2
"""Bytes of output of a command, over which it is ended: compilers are talkative, but not that much."""

START_TIME_S: Final = 30.0
END_TIME_S: Final = 10.0
LOOK_S: Final = 0.1
_SCRATCH_SHARE: Final = 4
"""Private files in memory may take a quarter of what the build may have."""


class WorkshopError(BuildError):
    """There is no workshop, or it has ended by itself; the text begins with the layer of isolation that failed."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a workshop shows to what runs in it.

    Attributes:
        folder: The folder of the host that can be written.
        target: Where it is, in there.
        trees: Folders and files of the host that can be read, besides programs and libraries of the system.
        off: Layers that are left out; for tests that see what they are good for.
    """

    folder: Path
    target: Path
    trees: tuple[Path, ...]
    off: tuple[str, ...] = ()


@dataclass(slots=True)
class _Means:
    """What a workshop has of the host, to be given back."""

    number: int
    first_id: int
    group: ControlGroup | None = None
    groups: list[int] = field(default_factory=list)


class Workshop:
    """One workshop; use it as a context. For one thread.

    Args:
        room: What it shows.
        host: What it is isolated with.
        limits: Of the build.
    """

    def __init__(self, room: Room, host: HostIsolation, limits: BuildLimits) -> None:
        self._room = room
        self._host = host
        self._limits = limits
        self._disk = DiskWatch(room.folder, limits)
        self._deadline = time.monotonic() + limits.total_time
        self._stack = contextlib.ExitStack()
        self._count: Callable[[], int] = int
        self._cancelled: Callable[[], bool] = bool
        self._group: ControlGroup | None = None
        self._pid = 0
        self._next_look = 0.0
        self._link: socket.socket
        self.listener: socket.socket
        """Listens on the loopback of the workshop. Owned by whoever opened the workshop."""

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            WorkshopError: It cannot be had.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._start(stack)
            except OSError as error:
                raise WorkshopError(f"the sandbox of the build could not be started: {error}") from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything that runs in it, and give its means back."""
        self._stack.close()

    def run(self, argv: Sequence[str], env: Mapping[str, str], *, cwd: Path, on_line: Callable[[str], None]) -> int:
        """Run a program, and wait until everything that it has started has ended.

        Args:
            argv: With an absolute path first.
            env: All of its environment.
            cwd: Its working directory, as it is called in there.
            on_line: Called with every line of output.

        Returns:
            Its exit status; negative numbers are signals.

        Raises:
            BuildError: It went over a limit.
            WorkshopError: The workshop has ended.
        """
        limits = {
            "processes": self._limits.processes,
            "open_files": OPEN_FILES,
            "file_size": self._limits.disk,
        }
        if self._group is None:
            limits["data_size"] = self._limits.memory
        output, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(output, False)
            try:
                self._send(
                    "command",
                    [theirs],
                    argv=list(argv),
                    env=dict(env),
                    cwd=str(cwd),
                    limits=limits,
                )
            finally:
                os.close(theirs)
            status = self._follow(output, _Lines(on_line))
        finally:
            os.close(output)
        if status != 0 and self._group is not None and self._group.usage().oom_kills:
            raise self._too_much_memory()
        return status

    def count_as_output(self, count: Callable[[], int]) -> None:
        """Take it as a sign of life, too, when a number has changed."""
        self._count = count

    def end_when(self, cancelled: Callable[[], bool]) -> None:
        """End commands when somebody wants it."""
        self._cancelled = cancelled

    def seal(self) -> None:
        """Refuse all connections of commands that follow."""
        self._send("seal", [])

    def _start(self, stack: contextlib.ExitStack) -> None:
        means = stack.enter_context(self._take_means())
        self._group = means.group
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = ours
        if means.first_id:
            _hand_over(self._room.folder, means.first_id + 1)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "worker.workshop", str(theirs.fileno())],
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        stack.callback(self._end, process)
        self._pid = process.pid
        stack.callback(ours.close)
        self._send(
            "task",
            means.groups,
            trees=[str(tree) for tree in self._room.trees],
            folder=str(self._room.folder),
            target=str(self._room.target),
            first_id=means.first_id,
            off=list(self._room.off),
            scratch=self._limits.memory // _SCRATCH_SHARE,
        )
        ours.settimeout(START_TIME_S)
        _, descriptors = self._receive()
        ours.settimeout(END_TIME_S)
        self.listener = socket.socket(fileno=descriptors[0])

    @contextlib.contextmanager
    def _take_means(self) -> Iterator[_Means]:
        host = self._host
        number = host.take_number()
        means = _Means(number, host.first_id + 1 + 2 * number if host.ids else 0)
        try:
            means.group = host.create_group(f"build-{number}")
            if means.group is not None:
                means.group.apply(
                    memory_bytes=self._limits.memory,
                    processes=self._limits.processes,
                    cpu_share=self._limits.cpu_share,
                )
                means.group.reset()
                means.groups = means.group.open_procs()
            yield means
        finally:
            for descriptor in means.groups:
                os.close(descriptor)
            if means.group is not None:
                _remove(means.group)
            host.give_number(number)

    def _follow(self, output: int, lines: _Lines) -> int:
        """Pass on what a command says until it has ended, within all limits."""
        heard = time.monotonic()
        count = self._count()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self._link, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(LOOK_S)}
                now = time.monotonic()
                if count != self._count():
                    count, heard = self._count(), now
                if output in ready:
                    if lines.read(output):
                        heard = now
                    else:
                        selector.unregister(output)
                if self._link.fileno() in ready:
                    message, _ = self._receive()
                    lines.read_rest(output)
                    return int(message["status"])
                self._check(now, heard, lines.size)

    def _check(self, now: float, heard: float, size: int) -> None:
        """See whether a limit was reached.

        Raises:
            BuildError: One was.
        """
        limits = self._limits
        if self._cancelled():
            raise BuildError("it was cancelled")
        if now > self._deadline:
            raise BuildError(f"it took longer than {limits.total_time:g} s (environments.limits.total_time)")
        if now - heard > limits.silent_time:
            raise BuildError(f"it said nothing for {limits.silent_time:g} s (environments.limits.silent_time)")
        if size > MAX_OUTPUT:
            raise BuildError(f"it printed more than {MAX_OUTPUT} bytes")
        self._disk.check(now)
        if self._group is None and now > self._next_look:
            self._next_look = now + LOOK_S
            _, memory = look_at_processes(self._pid, 0)
            if memory > limits.memory:
                raise self._too_much_memory()

    def _too_much_memory(self) -> BuildError:
        return BuildError(f"it used more than {self._limits.memory} bytes of memory (environments.limits.memory)")

    def _send(self, kind: str, descriptors: Sequence[int], **fields: object) -> None:
        try:
            socket.send_fds(self._link, [msgpack.packb(fields | {"kind": kind})], descriptors)
        except OSError as error:
            raise WorkshopError(f"the sandbox of the build has ended: {error}") from error

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._link, MAX_MESSAGE, 1)
        except OSError as error:
            raise WorkshopError(f"the sandbox of the build does not answer: {error}") from error
        if not data:
            raise WorkshopError("the sandbox of the build has ended")
        message: dict[str, Any] = msgpack.unpackb(data)
        if message["kind"] == "failed":
            raise WorkshopError(f"the sandbox of the build could not be made: {message['text']}")
        return message, descriptors

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of the program, whose socket was closed, and with it of all below it."""
        try:
            process.wait(END_TIME_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _remove(group: ControlGroup) -> None:
    """Remove the control group of a workshop, in which nobody is left."""
    deadline = time.monotonic() + END_TIME_S
    while True:
        try:
            group.remove()
        except OSError as error:
            if time.monotonic() > deadline:
                log.warning("environment.group_stays", group=group.name, reason=str(error))
                return
            time.sleep(LOOK_S)  # the kernel is still busy with the end of its last process
        else:
            return


def _hand_over(folder: Path, uid: int) -> None:
    """Give a folder, and all that we have put there, to the user that commands run as."""
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchown(descriptor, uid, uid)
        for name in (*folders, *files):
            os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


class _Lines:
    """Cuts output into lines, and never holds more than one of them."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.size = 0

    def read(self, descriptor: int) -> bool:
        """Read what there is; whether there may be more."""
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return True
        self.size += len(data)
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._say(line)
        self._rest = rest[:MAX_LINE]
        return bool(data)

    def read_rest(self, descriptor: int) -> None:
        """Read what is left when nobody writes any more."""
        while self.read(descriptor) and self.size <= MAX_OUTPUT:
            pass
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace")[:MAX_LINE].rstrip()
        if text:
            self._on_line("".join(character if character.isprintable() else " " for character in text))
