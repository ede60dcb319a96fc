"""Endpoints that take the pipe into their own hands: whatever they say, only their own request suffers.

Each is asked on a connection on which another request follows at once. What the client reads there is taken apart by
the letter: an answer that spills over into the next one would show.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.e2e.harness import RawConnection
from tests.sandbox.arena import Arena, Batch, chosen, lasting, open_arena
from tests.sandbox.conftest import cannot_run
from tests.sandbox.deeds import DeedRecord, deeds_of
from tests.sandbox.services import NOBODY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIB: Final = 1 << 20
SHORT: Final = {
    "first_byte_time": lasting(5),
    "idle_time": lasting(2),
    "wall_time": lasting(8),
    "log_output": "64 KiB",
}
DEEDS: Final = deeds_of("pipe")
LONGEST: Final = 4 * MIB


class Answer(NamedTuple):
    """An answer as it came: its status, its head by lower-case names, and its body; whole or cut."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    whole: bool


def read_answer(connection: RawConnection) -> Answer | None:
    """Take one answer off a connection, by RFC 9112; None where there is none any more.

    Raises:
        AssertionError: It is none by the letter.
    """
    try:
        head = connection.read_until(b"\r\n\r\n").decode("latin-1")
    except (EOFError, ConnectionResetError):
        return None
    first, *lines = head[:-4].split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    assert not [line for line in lines if "\r" in line or "\n" in line or "\0" in line or line[0] in " \t"], head
    headers: dict[str, list[str]] = {}
    for name, _, value in (line.partition(":") for line in lines):
        assert name.strip() == name != "", head
        headers.setdefault(name.lower(), []).append(value.strip())
    body, whole = read_body(connection, int(status), headers)
    return Answer(int(status), headers, body, whole)


def read_body(connection: RawConnection, status: int, headers: dict[str, list[str]]) -> tuple[bytes, bool]:
    """Read a body as it is framed, and whether it was whole."""
    lengths, codings = headers.get("content-length", []), headers.get("transfer-encoding", [])
    assert len(lengths) + len(codings) <= 1, headers
    try:
        if status in {204, 304}:
            return b"", True
        if lengths:
            return connection.read_exactly(int(lengths[0])), True
        if codings:
            assert codings == ["chunked"]
            return read_chunks(connection), True
    except (EOFError, ConnectionResetError):
        return b"", False
    assert headers["connection"] == ["close"]
    return connection.read_all(), True


def read_chunks(connection: RawConnection) -> bytes:
    """Read a body in chunks.

    Raises:
        EOFError: It is cut.
    """
    body = b""
    while size := int(connection.read_until(b"\r\n"), 16):
        assert len(body) < LONGEST
        body += connection.read_exactly(size)
        assert connection.read_exactly(2) == b"\r\n"
    assert connection.read_exactly(2) == b"\r\n"
    return body


class Seen(NamedTuple):
    """What a client saw of a deed and of the request after it, and what the log says."""

    answer: Answer | None
    next: Answer | None
    outcome: str
    detail: str


def ask(arena: Arena, deed: DeedRecord) -> Seen:
    """Ask for a deed, and for a harmless answer behind it."""
    first = f"POST /e/hostile/deed/pipe/{deed.name} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}"
    second = "GET /e/hostile/hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with arena.executor.raw() as connection:
        connection.send((first + second).encode())
        answer = read_answer(connection)
        following = read_answer(connection) if answer is not None and answer.whole else None
        rest = connection.read_all() if answer is None or answer.whole else b""
    assert rest == b"", f"{deed.name} {answer}: {rest[:500]!r}"
    assert answer is not None
    figures = arena.executor.invocation(answer.headers["x-invocation-id"][0])
    return Seen(answer, following, figures["outcome"], figures["detail"])


class Results:
    """What came of the deeds, each done once, some side by side."""

    def __init__(self, arena: Arena, deeds: list[DeedRecord]) -> None:
        self.arena = arena
        self.batch = Batch(lambda deed: ask(arena, deed), deeds, 6)


@pytest.fixture(scope="module", params=["root", "rootless"])
def results(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Results]:
    """Everything is said once; afterwards the supervisor is as it was."""
    root = os.geteuid() == 0
    if request.param == "root" and not root:
        cannot_run("the tests do not run as root")
    user = NOBODY if root and request.param == "rootless" else None
    with open_arena(plugins, {}, user=user, limits=SHORT) as arena:
        arena.hello()
        memory, descriptors = arena.memory(), arena.executor.descriptors()
        results = Results(arena, chosen(request, "deed"))
        with contextlib.closing(results.batch):
            yield results
        arena.wait_alone()
        assert arena.hello(time_s=2) == "hello there"
        assert arena.memory() < memory + 24 * MIB
        assert arena.executor.descriptors() < descriptors + 32
        assert arena.executor.own_failures() == []


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_only_its_own_request_suffers(results: Results, deed: DeedRecord) -> None:
    """It ends as it is documented, is said why, and the next answer on the same connection is the right one."""
    seen = results.batch.result(deed)
    assert seen.outcome in (deed.ends or ("ok",)), f"{deed.tries}: {seen.outcome}, {seen.detail}"
    assert seen.answer is not None
    if seen.outcome == "ok":
        assert seen.answer.body == (b"" if "body_of" in deed.name else b"first")
        assert set(seen.answer.headers) <= {"date", "content-length", "transfer-encoding", "x-invocation-id", "x"}
        assert len(seen.answer.headers["x-invocation-id"][0]) == 36
    else:
        assert seen.detail
        assert not seen.answer.whole or seen.answer.headers["content-type"] == ["application/problem+json"]
        assert "set-cookie" not in seen.answer.headers
    if seen.answer.whole and "connection" not in seen.answer.headers:
        assert seen.next is not None
        assert (seen.next.status, seen.next.body) == (200, b"hello ")
