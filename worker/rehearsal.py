"""A rehearsal: answering a few requests in the zygote, before anything is forked from it.

Python fills caches as it runs: where methods were found, which kinds of operands an instruction met. A worker that
starts with empty ones writes to memory that it shares with its siblings until then, and every page that is written to
has to be copied by the kernel. So the zygote runs what every worker will run, with an endpoint of ours, and leaves the
caches full (decision 0013). Nothing of a plugin takes part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from os import close, pipe2, read, write
from typing import Final

from protocol import Body, BodyEnd, Connection, Invoke, Ready, Role
from worker.channel import Channel
from worker.loader import STAGE, Loader
from worker.logs import flush_output, write_error
from worker.tracebacks import format_error

__all__ = ["Answering", "rehearse"]

Answering = Callable[[Channel, Loader, Invoke], None]
"""Answers one invocation; see `worker.invoke`."""

PACKAGE: Final = "endpoints"
SOURCE: Final = f"{PACKAGE}/rehearsed.py"
ROUNDS: Final = 12
"""The interpreter adapts an instruction when it has run eight times."""

_BODY: Final = b'{"number": 1, "text": "some"}'
_HEADERS: Final = {
    "Host": "localhost",
    "User-Agent": "rehearsal",
    "Accept": "*/*",
    "Content-Type": "application/json",
    "Cookie": "name=value",
}
_READ_SIZE: Final = 1 << 16


def rehearse(answer: Answering) -> None:
    """Answer some requests, as a worker would, with nobody asking. A failure costs time later, and nothing else."""
    try:
        for _ in range(ROUNDS):
            for method in ("GET", "POST"):
                _perform(method, answer)
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
        posted = method == "POST"
        write(requests_w, supervisor.send(_request(method, has_body=posted)))
        if posted:
            write(requests_w, supervisor.send(Body(data=_BODY)) + supervisor.send(BodyEnd()))
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


def _request(method: str, *, has_body: bool) -> Invoke:
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
