"""A small synchronous supervisor: starts the real base zygote and talks to real workers through real pipes.

It works as root, with a block of host ids, and as any other user, without.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import socket
import struct
import subprocess
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from executor.supervisor.zygote import make_command
from protocol import (
    MAX_CONTROL,
    MAX_DATA,
    Body,
    BodyEnd,
    Call,
    CallResult,
    Cancel,
    Chunk,
    Connection,
    ControlMessage,
    Credit,
    End,
    Error,
    Exited,
    Forked,
    ForkSlot,
    ForkWorker,
    ForkZygote,
    Invoke,
    Kill,
    LendFolder,
    Log,
    Message,
    PrepareWorker,
    Ready,
    Response,
    Role,
    Shutdown,
    SlotReady,
    ZygoteReady,
    decode_control,
    encode_control,
)

__all__ = [
    "AS_ROOT",
    "CREDENTIALS",
    "ENVIRONMENT",
    "FIRST_ID",
    "IDS",
    "LIMITS",
    "TIMEOUT_S",
    "Answer",
    "BaseZygote",
    "ControlDriver",
    "Plugin",
    "SlotDriver",
    "WorkerDriver",
    "ZygoteDriver",
    "base_with_pipe",
    "make_fork_zygote",
    "make_invoke",
    "make_prepare_worker",
    "wait_readable",
]

TIMEOUT_S: Final = 50.0
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
AS_ROOT: Final = os.geteuid() == 0
FIRST_ID: Final = 2_000_000_000
IDS: Final = 8192
LIMITS: Final[Mapping[str, int]] = {
    "processes": 128,
    "cpu_time": 60,
    "open_files": 256,
    "file_size": 64 << 20,
    "scratch_size": 128 << 20,
    "scratch_files": 8192,
}
CREDENTIALS: Final = struct.Struct("iII")
"""`struct ucred` of unix(7)."""

M = TypeVar("M", bound=ControlMessage)


def wait_readable(*descriptors: int, timeout_s: float = TIMEOUT_S) -> list[int]:
    """Wait until one of them can be read; fails the test when none can in time."""
    ready, _, _ = select.select(descriptors, [], [], timeout_s)
    if not ready:
        raise TimeoutError(f"nothing to read within {timeout_s} s")
    return ready


class ControlDriver:
    """Our end of a control socket, and what came on it.

    Attributes:
        pid: Process id of the other side, once it is ready.
        ready: What it said then.
    """

    def __init__(self, control: socket.socket, child_id: int = 0) -> None:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.control = control
        self.id = child_id
        self.pid = 0
        self.ready: dict[str, Any] = {}
        self.pending: list[tuple[ControlMessage, int]] = []
        self._next_id = 1

    def next_id(self) -> int:
        """Return an identifier that was not used yet."""
        self._next_id += 1
        return self._next_id

    def command(self, message: ControlMessage, descriptors: Sequence[int] = ()) -> None:
        """Send a command with descriptors."""
        socket.send_fds(self.control, [encode_control(message)], list(descriptors))

    def report(self, kind: type[M], child_id: int | None = None) -> M:
        """Wait for a report of this kind, about this child; others are kept."""
        return self.report_with_pid(kind, child_id)[0]

    def report_with_pid(self, kind: type[M], child_id: int | None = None) -> tuple[M, int]:
        """Wait for a report; it and the process id that came with it."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            for index, (message, pid) in enumerate(self.pending):
                if isinstance(message, kind) and (child_id is None or getattr(message, "id", None) == child_id):
                    del self.pending[index]
                    return message, pid
            wait_readable(self.control.fileno(), timeout_s=max(0.0, deadline - time.monotonic()))
            self.receive()

    def receive(self) -> ControlMessage:
        """Take the next report, which is kept, too."""
        data, ancillary, _, _ = self.control.recvmsg(MAX_CONTROL, socket.CMSG_SPACE(CREDENTIALS.size))
        if not data:
            raise EOFError(f"the other side has closed its control socket; before that: {self.pending}")
        message, (_, _, credentials) = decode_control(data), ancillary[0]
        self.pending.append((message, CREDENTIALS.unpack(credentials)[0]))
        return message

    def wait_ready(self) -> dict[str, Any]:
        """Wait until it takes commands; its report."""
        message, self.pid = self.report_with_pid(ZygoteReady)
        self.ready = message.report
        return self.ready

    def wait_end(self) -> None:
        """Wait until its end of the socket is closed."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            self.report(Shutdown)

    def close(self) -> None:
        """Close our end, which ends the other side."""
        self.control.close()


class SlotDriver(ControlDriver):
    """A slot."""

    @property
    def template_pid(self) -> int:
        """Process id of its template, as long as there is one."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"^PPid:\t(\d+)$", status, re.MULTILINE)[0])

    def wait_ready(self) -> dict[str, Any]:
        """Wait until it takes commands; its report."""
        message, self.pid = self.report_with_pid(SlotReady)
        self.ready = message.report
        return self.ready


class ZygoteDriver(ControlDriver):
    """A zygote, and the slots that it has and nobody uses.

    Attributes:
        slots: All slots that were forked for `take_slot`.
    """

    def __init__(self, control: socket.socket, child_id: int = 0) -> None:
        super().__init__(control, child_id)
        self.slots: list[SlotDriver] = []
        self._idle: list[SlotDriver] = []
        self._numbers = itertools.count()

    def fork_zygote(
        self,
        preload: Sequence[str] = ("dify_plugin",),
        sys_path: Sequence[str] = (),
        *,
        plugin_root: Path | str = "",
        environment: Path | str = "",
        block: bool = AS_ROOT,
        lender: ZygoteDriver | None = None,
        imports: Sequence[str] = (),
    ) -> ZygoteDriver:
        """Have a plugin's zygote forked, its folder lent by another one if that is given; it may not be ready yet."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        zygote = ZygoteDriver(ours, self.next_id())
        with theirs, contextlib.ExitStack() as stack:
            message = make_fork_zygote(
                zygote.id,
                preload,
                sys_path,
                plugin_root=plugin_root,
                environment=environment,
                block=block,
                imports=imports,
            )
            descriptors = [theirs.fileno(), *([2] if environment else [])]
            if lender is not None:
                links = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                here, there = (stack.enter_context(link) for link in links)
                lender.command(LendFolder(plugin_root=str(plugin_root), copy_private=block), [here.fileno()])
                descriptors.append(there.fileno())
            self.command(message, descriptors)
        self.report(Forked, zygote.id)
        return zygote

    def fork_slot(self, *, off: Sequence[str] = (), groups: Sequence[int] = ()) -> SlotDriver:
        """Have a slot forked, and wait until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        slot = SlotDriver(ours, self.next_id())
        with theirs:
            message = ForkSlot(slot_id=slot.id, name="plugin", number=next(self._numbers), off=tuple(off))
            self.command(message, [theirs.fileno(), *groups])
        self.report(Forked, slot.id)
        slot.wait_ready()
        return slot

    def take_slot(self) -> SlotDriver:
        """An idle slot, or a new one; `give_slot` takes it back."""
        if not self._idle:
            self.slots.append(self.fork_slot())
            return self.slots[-1]
        return self._idle.pop()

    def give_slot(self, slot: SlotDriver) -> None:
        """Keep a slot whose worker has ended for the next one, if it can serve another one."""
        if slot.ready["reusable"]:
            self._idle.append(slot)
        else:
            self.slots.remove(slot)
            slot.close()

    def drop_slots(self) -> None:
        """End the idle slots, whose templates have looked at the plugin as it was."""
        while self._idle:
            slot = self._idle.pop()
            self.slots.remove(slot)
            slot.close()
            self.report(Exited, slot.id)

    def close(self) -> None:
        """Close our ends, which ends the zygote."""
        for slot in self.slots:
            slot.close()
        super().close()


class BaseZygote(ZygoteDriver):
    """The base zygote, as the executor starts it.

    Args:
        groups: Folders of control groups that it removes at its end.
        stderr: Its descriptor 2.
        wrapper: A command to start it with.
        interpreter: What runs it, if not ours in our own environment.
    """

    def __init__(
        self,
        *groups: str,
        stderr: int | None = None,
        wrapper: Sequence[str] = (),
        interpreter: Path | None = None,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        with theirs:
            self.process = subprocess.Popen(
                [*wrapper, *make_command(interpreter), str(theirs.fileno()), *groups],
                pass_fds=[theirs.fileno()],
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self.stderr_fd = -1

    def close(self) -> None:
        """Tell it to end, close our end, and wait for the process."""
        if self.control.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.command(Shutdown())
            self.wait_end()
        super().close()
        self.process.wait(TIMEOUT_S)


@contextlib.contextmanager
def base_with_pipe(interpreter: Path | None = None) -> Iterator[BaseZygote]:
    """A base zygote that is ready, its descriptor 2 a pipe; run by another interpreter than ours if one is given."""
    stderr_r, stderr_w = os.pipe()
    zygote = BaseZygote(stderr=stderr_w, interpreter=interpreter)
    os.close(stderr_w)
    zygote.stderr_fd = stderr_r
    zygote.wait_ready()
    yield zygote
    zygote.close()
    os.close(stderr_r)


@dataclass
class Answer:
    """All that a worker said about one invocation."""

    head: Response | None = None
    chunks: list[bytes] = field(default_factory=list)
    error: Error | None = None
    ended: bool = False
    logs: list[Log] = field(default_factory=list)
    stdout: bytes = b""
    stderr: bytes = b""
    exited: Exited | None = None

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)

    @property
    def status(self) -> int:
        """The status, of an answer that has one."""
        assert self.head is not None, self.error
        return self.head.status

    def headers(self, name: str) -> list[str]:
        """The values of a header."""
        assert self.head is not None, self.error
        return [value.decode("latin-1") for key, value in self.head.headers if key.decode().lower() == name.lower()]


class WorkerDriver:
    """Our ends of a worker's pipes.

    Args:
        slot: Where it is forked.
        sources: To be imported before it is ready.
        limits: What it may use.
        debug: Whether log records below INFO are wanted.
    """

    def __init__(
        self,
        slot: SlotDriver,
        sources: Sequence[str] = (),
        *,
        limits: Mapping[str, int] = LIMITS,
        debug: bool = False,
    ) -> None:
        self.slot = slot
        self.connection = Connection(Role.SUPERVISOR)
        self.logs: list[Log] = []
        self._end: Exited | None = None
        requests_r, self.write_fd = os.pipe2(os.O_CLOEXEC)
        self.read_fd, responses_w = os.pipe2(os.O_CLOEXEC)
        self.stdout_fd, stdout_w = os.pipe2(os.O_CLOEXEC)
        self.stderr_fd, stderr_w = os.pipe2(os.O_CLOEXEC)
        self._open = {
            "write": self.write_fd,
            "read": self.read_fd,
            "stdout": self.stdout_fd,
            "stderr": self.stderr_fd,
        }
        theirs = (requests_r, responses_w, stdout_w, stderr_w)
        self.id = slot.next_id()
        slot.command(make_prepare_worker(sources, limits=limits, debug=debug))
        slot.command(ForkWorker(self.id), theirs)
        for descriptor in theirs:
            os.close(descriptor)
        _, self.pid = slot.report_with_pid(Forked, self.id)

    def send(self, message: Message) -> None:
        """Send a message; the pipe must have room for it."""
        data = self.connection.send(message)
        while data:
            data = data[os.write(self.write_fd, data) :]

    def receive_any(self) -> Message | None:
        """Wait for the next message; None at the end of the pipe. Reverse calls are refused."""
        while (message := self.connection.next_message()) is None or isinstance(message, Call):
            if isinstance(message, Call):
                self.send(CallResult(message.call_id, "error", b"nobody takes reverse calls here", more=False))
                continue
            if self.connection.at_eof:
                return None
            wait_readable(self.read_fd)
            self.connection.receive_data(os.read(self.read_fd, 65536))
        return message

    def receive(self) -> Message | None:
        """Wait for the next message that is no LOG and no CREDIT."""
        while True:
            message = self.receive_any()
            if isinstance(message, Log):
                self.logs.append(message)
            elif not isinstance(message, Credit):
                return message

    def wait_ready(self) -> Ready | Error:
        """Wait until it has imported its sources, or has failed to."""
        message = self.receive()
        assert isinstance(message, Ready | Error), message
        return message

    def body(self, data: bytes) -> None:
        """Send a whole body, waiting for credit."""
        view = memoryview(data)
        while view:
            while self.connection.send_window == 0:
                message = self.receive_any()
                if isinstance(message, Log):
                    self.logs.append(message)
                assert isinstance(message, Credit | Log), message
            size = min(len(view), MAX_DATA, self.connection.send_window)
            self.send(Body(data=bytes(view[:size])))
            view = view[size:]
        self.send(BodyEnd())

    def exchange(self, data: bytes) -> tuple[Answer, int]:
        """Send a body and take the answer at the same time; the answer, and how much of the body was sent."""
        answer, sent = Answer(), 0
        while not answer.ended:
            window = min(self.connection.send_window, MAX_DATA)
            if sent < len(data) and window:
                self.send(Body(data=data[sent : sent + window]))
                sent += min(window, len(data) - sent)
                if sent == len(data):
                    self.send(BodyEnd())
                if not select.select([self.read_fd], [], [], 0)[0]:
                    continue
            self._take(answer, self.receive_any())
        return self.collect(answer), sent

    def collect(self, answer: Answer | None = None) -> Answer:
        """Take everything up to the end of the pipe, granting credit."""
        answer = answer or Answer()
        while (message := self.receive_any()) is not None:
            self._take(answer, message)
        answer.logs[:0] = self.logs
        return answer

    def _take(self, answer: Answer, message: Message | None) -> None:
        match message:
            case Response():
                answer.head = message
            case Chunk():
                answer.chunks.append(message.data)
                self.grant(len(message.data))
            case End():
                answer.ended = True
            case Error():
                answer.error = message
            case Log():
                answer.logs.append(message)
            case None:
                raise EOFError("the worker has closed its pipe")

    def grant(self, amount: int) -> None:
        """Grant credit, unless the worker has gone."""
        with contextlib.suppress(BrokenPipeError, KeyError):
            if "write" in self._open:
                self.send(Credit(amount=amount))

    def cancel(self) -> None:
        """Send CANCEL."""
        self.send(Cancel(reason="test"))

    def output(self) -> tuple[bytes, bytes]:
        """Everything that came on stdout and stderr, up to their end."""
        return _read_all(self.stdout_fd), _read_all(self.stderr_fd)

    def exited(self) -> Exited:
        """Wait for the report of its end."""
        if self._end is None:
            self._end = self.slot.report(Exited, self.id)
        return self._end

    def kill(self) -> None:
        """Have it killed."""
        with contextlib.suppress(BrokenPipeError):  # a slot that could not be used again has ended
            self.slot.command(Kill(worker_id=self.id))

    def close_requests(self) -> None:
        """Close the pipe to the worker, as the end of the supervisor would."""
        os.close(self._open.pop("write"))

    def close(self) -> None:
        """Close our ends of the pipes."""
        while self._open:
            os.close(self._open.popitem()[1])


def _read_all(descriptor: int) -> bytes:
    parts = []
    while wait_readable(descriptor) and (data := os.read(descriptor, 65536)):
        parts.append(data)
    return b"".join(parts)


HEADER: Final = """
import io, json, logging, os, sys, threading, time
from werkzeug import Request, Response
from dify_plugin import Endpoint
"""


class Plugin:
    """A plugin, and its workers.

    Args:
        zygote: That of the plugin.
        root: Its folder.
    """

    def __init__(self, zygote: ZygoteDriver, root: Path) -> None:
        self.zygote = zygote
        self.root = root
        self.root.mkdir(exist_ok=True)
        self.workers: list[WorkerDriver] = []

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file of the plugin; templates look at what makes a folder a package, so that needs new ones."""
        path = self.root / name
        if path.name == "__init__.py":
            self.zygote.drop_slots()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textwrap.dedent(text).encode() if isinstance(text, str) else text)
        return path

    def endpoint(self, body: str, *, top: str = "", source: str = "endpoints/main.py") -> str:
        """Write an endpoint, given the body of `_invoke(self, r, values, settings)`; returns its source."""
        body = textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8)
        method = f"class Main(Endpoint):\n    def _invoke(self, r, values, settings):\n{body}\n"
        self.write(source, f"{HEADER}{textwrap.dedent(top)}\n{method}")
        return source

    def fork(self, sources: Sequence[str] = (), **task: Any) -> WorkerDriver:
        """Fork a worker, which is closed with the plugin."""
        worker = WorkerDriver(self.zygote.take_slot(), sources, **task)
        self.workers.append(worker)
        return worker

    def start(
        self,
        source: str = "endpoints/main.py",
        *,
        body: bool = False,
        limits: Mapping[str, int] = LIMITS,
        **given: Any,
    ) -> WorkerDriver:
        """Start a worker up to the point where it has got INVOKE."""
        worker = self.fork(limits=limits)
        ready = worker.wait_ready()
        assert isinstance(ready, Ready), ready
        worker.send(make_invoke(source, has_body=body, **given))
        return worker

    def call(self, source: str = "endpoints/main.py", *, data: bytes | None = None, **given: Any) -> Answer:
        """Call an endpoint and wait for the end of its worker."""
        worker = self.start(source, body=data is not None, **given)
        if data is not None:
            worker.body(data)
        answer = worker.collect()
        answer.stdout, answer.stderr = worker.output()
        answer.exited = self.finish(worker)
        return answer

    def finish(self, worker: WorkerDriver) -> Exited:
        """Wait for the end of a worker, and let others have its slot."""
        report = worker.exited()
        worker.close()
        self.workers.remove(worker)
        self.zygote.give_slot(worker.slot)
        return report

    def close(self) -> None:
        """End the workers that are left."""
        for worker in list(self.workers):
            worker.kill()
            self.finish(worker)


def make_prepare_worker(
    sources: Sequence[str] = (), *, limits: Mapping[str, int] = LIMITS, debug: bool = False
) -> PrepareWorker:
    """A PREPARE_WORKER with plausible limits."""
    return PrepareWorker(sources=tuple(sources), limits=dict(limits), debug=debug)


def make_fork_zygote(
    zygote_id: int,
    preload: Sequence[str] = (),
    sys_path: Sequence[str] = (),
    *,
    plugin_root: Path | str = "",
    environment: Path | str = "",
    block: bool = AS_ROOT,
    imports: Sequence[str] = (),
) -> ForkZygote:
    """A FORK_ZYGOTE with a block of host ids, which only root has, or without."""
    return ForkZygote(
        zygote_id=zygote_id,
        name="plugin",
        preload=tuple(preload),
        imports=tuple(imports),
        sys_path=tuple(sys_path),
        plugin_root=str(plugin_root),
        environment=str(environment),
        trees=(),
        first_id=FIRST_ID if block else 0,
        ids=IDS if block else 0,
        off=(),
    )


def make_invoke(source: str = "endpoints/main.py", **given: Any) -> Invoke:
    """An INVOKE with plausible fields; `headers` may be a mapping of texts."""
    headers = given.pop("headers", {"Host": "example.org"})
    if isinstance(headers, Mapping):
        headers = [(name, value) for name, value in headers.items()]
    fields: dict[str, Any] = {
        "invocation_id": "0192f0c1-0000-7000-8000-000000000001",
        "source": source,
        "method": "GET",
        "scheme": "http",
        "server_name": "example.org",
        "server_port": 80,
        "root_path": "",
        "path": "/",
        "query": b"",
        "http_version": "1.1",
        "headers": tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers),
        "remote_addr": None,
        "values": (),
        "settings": {},
        "hook_id": "hook",
        "content_length": None,
        "has_body": False,
        "debug": False,
    }
    return Invoke(**(fields | given))
