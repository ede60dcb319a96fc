"""A rehearsal: answering a few requests in the zygote, before anything is forked from it.

Python fills caches as it runs: where methods were found, which kinds of operands an instruction met. A worker that
starts with empty ones writes to memory that it shares with its siblings until then, and every page that is written to
has to be copied by the kernel. So the zygote runs what every worker will run, with an endpoint of ours, and leaves the
caches full (decision 0013). Nothing of a plugin takes part.

Before that it forks workers that are watched: which code runs from their birth to their end is known from then on, and
is put close together (`worker.compaction`).
"""

from __future__ import annotations

import os
import struct
import sys
from os import close, kill, pipe2, read, waitpid, write
from select import POLLIN, poll
from signal import SIGKILL
from typing import TYPE_CHECKING, Final

from protocol import Body, BodyEnd, Connection, Invoke, Ready, Role
from worker.birth import end_as
from worker.channel import Channel
from worker.compaction import compact
from worker.environment import Answering, Runtime
from worker.forking import fork_alone
from worker.greenlets import end_event_loop
from worker.loader import STAGE, Loader
from worker.logs import flush_output, write_error
from worker.process import Birth, become_worker
from worker.tracebacks import format_error

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["rehearse"]

PACKAGE: Final = "endpoints"
SOURCE: Final = f"{PACKAGE}/rehearsed.py"
METHODS: Final = ("GET", "POST")
ROUNDS: Final = 18
"""The interpreter adapts an instruction when it has run eight times, and a class when it has made thirty objects."""

WATCH_MS: Final = 5000
"""Longest wait for a worker that is watched, in milliseconds; it takes about ten."""

_BODY: Final = b'{"number": 1, "text": "some"}'
_HEADERS: Final = {
    "Host": "localhost",
    "User-Agent": "rehearsal",
    "Accept": "*/*",
    "Content-Type": "application/json",
    "Cookie": "name=value",
}
_READ_SIZE: Final = 1 << 16
_ADDRESS: Final = struct.Struct("=Q")

_renewed: list[list[CodeType]] = []
"""Code that was made anew. The collector of garbage does not know it, and functions that have it were gone through."""


def rehearse(runtime: Runtime) -> None:
    """Answer some requests, as a worker would, with nobody asking. A failure costs time later, and nothing else."""
    try:
        for method in METHODS:
            _perform(method, runtime.answer)
        end_event_loop()  # that of the SDK; workers are never forked from a process that has one
        _renewed.append(compact([address for method in METHODS for address in _watch(method, runtime)]))
        for _ in range(ROUNDS):
            for method in METHODS:
                _perform(method, runtime.answer)
        flush_output()
    except BaseException as error:  # noqa: BLE001 - the SDK may raise anything; a real worker reports what is wrong
        write_error(f"the rehearsal failed: {format_error(error)}")
    for path in [path for path in sys.path_importer_cache if path.startswith(STAGE)]:
        del sys.path_importer_cache[path]


def _perform(method: str, answer: Answering) -> None:
    """Answer one request as the first of a plugin, and leave nothing of it where plugins look."""
    known = set(sys.modules)
    sys.path.insert(0, STAGE)
    try:
        _play(Loader(STAGE), method, answer)
    finally:
        sys.path.remove(STAGE)
        for name in set(sys.modules) - known:
            if name.partition(".")[0] == PACKAGE:
                del sys.modules[name]


def _play(loader: Loader, method: str, answer: Answering) -> None:
    """Play both ends of one invocation."""
    requests_r, requests_w = pipe2(os.O_CLOEXEC)
    responses_r, responses_w = pipe2(os.O_CLOEXEC)
    channel = Channel()
    channel.open(requests_r, responses_w)
    supervisor = Connection(Role.SUPERVISOR)
    try:
        loader.load(SOURCE)
        channel.send(Ready())
        _hear(supervisor, responses_r)
        write(requests_w, _request(supervisor, method))
        invoke = channel.receive()
        if isinstance(invoke, Invoke):
            answer(channel, loader, invoke)
        _hear(supervisor, responses_r)
    finally:
        channel.abandon()
        for descriptor in (requests_w, responses_r):
            close(descriptor)


def _hear(supervisor: Connection, descriptor: int) -> None:
    supervisor.receive_data(read(descriptor, _READ_SIZE))
    while supervisor.next_message() is not None:
        pass


def _watch(method: str, runtime: Runtime) -> list[int]:
    """Fork a worker that answers one request; the addresses of the code that it ran, in the order in which it began.

    It is a process of its own, as looking at what runs leaves marks in all code.
    """
    supervisor = Connection(Role.SUPERVISOR)
    supervisor.receive_data(Connection(Role.WORKER).send(Ready()))
    supervisor.next_message()
    requests, responses, output = (pipe2(os.O_CLOEXEC) for _ in range(3))
    theirs, ours = {requests[0], responses[1], output[1]}, {requests[1], responses[0], output[0]}
    pid = -1
    try:
        birth = Birth(root=STAGE, loader=Loader(STAGE), channel=Channel(), serve=runtime.serve, sources=(SOURCE,))
        birth.loader.prepare(birth.sources)
        birth.pipes = (requests[0], responses[1], output[1], 2)
        write(requests[1], _request(supervisor, method))
        pid = fork_alone()
        if pid == 0:
            end_as(lambda: _be_watched(birth))
        while theirs:
            close(theirs.pop())
        poller = poll()
        poller.register(output[0], POLLIN)
        seen = read(output[0], _READ_SIZE) if poller.poll(WATCH_MS) else b""
        if not seen:
            raise TimeoutError(f"a worker that was watched did not end well within {WATCH_MS} ms")
    finally:
        if pid > 0:
            kill(pid, SIGKILL)
            waitpid(pid, 0)
        for descriptor in theirs | ours:
            close(descriptor)
    return [address for (address,) in _ADDRESS.iter_unpack(seen[: len(seen) // _ADDRESS.size * _ADDRESS.size])]


def _be_watched(birth: Birth) -> int:
    """Be such a worker, and tell what has run as output, which the endpoint of the rehearsal has none of."""
    seen: dict[int, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.setdefault(id(frame.f_code))

    sys.setprofile(note)
    status = become_worker(birth)
    sys.setprofile(None)
    write(1, b"".join(map(_ADDRESS.pack, seen)))
    return status


def _request(supervisor: Connection, method: str) -> bytes:
    """What a supervisor says for one request."""
    posted = method == "POST"
    said = supervisor.send(_invoke(method, has_body=posted))
    if posted:
        said += supervisor.send(Body(data=_BODY)) + supervisor.send(BodyEnd())
    return said


def _invoke(method: str, *, has_body: bool) -> Invoke:
    return Invoke(
        invocation_id="00000000-0000-7000-8000-000000000000",
        source=SOURCE,
        method=method,
        scheme="http",
        server_name="localhost",
        server_port=80,
        root_path="/e/hook",
        path="/some",
        query=b"q=1&r=2",
        http_version="1.1",
        headers=tuple((name.encode(), value.encode()) for name, value in _HEADERS.items()),
        remote_addr="127.0.0.1",
        values=(("name", "str", "some"), ("count", "int", "1")),
        settings={"greeting": "hello", "number": 1},
        hook_id="hook",
        content_length=len(_BODY) if has_body else None,
        has_body=has_body,
        debug=False,
    )
