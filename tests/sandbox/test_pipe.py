"""Endpoints that take the pipe into their own hands: whatever they say, only their own request suffers.

Each is asked on a connection on which another request follows at once. What the client reads there is taken apart by
the letter: an answer that spills over into the next one would show.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import psutil
import pytest

from tests.e2e.raw_connection import RawConnection
from tests.sandbox.arena import Arena, Batch, chosen, lasting, open_arena, wait_until
from tests.sandbox.conftest import user_for
from tests.sandbox.deeds import DeedRecord, deeds_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MIB: Final = 1 << 20
LONGEST: Final = 16 * MIB
BODILESS: Final = frozenset({204, 205, 304})

HOOKS: Final[dict[str, dict[str, object]]] = {
    "impatient": {"first_byte_time": lasting(5)},
    "brief": {"wall_time": lasting(5)},
    "unread": {},
}
"""Times are short only for those who wait for their end; a deed that is to be ended sooner is not raced by a clock."""

HOOK_OF: Final[dict[tuple[str, ...], str]] = {("timeout.first_byte",): "impatient", ("timeout.wall",): "brief"}
UNREAD: Final = "beyond_credit"
DEEDS: Final = deeds_of("pipe")
BY_NAME: Final = {deed.name: deed for deed in DEEDS}

BODIES: Final = {"chunked": b"5\r\nfirst\r\n0\r\n\r\n", "within_credit": b"x" * 4 * 65536, "without_body": b""}
"""What deeds answer that do not answer `first`: data that looks like frames of HTTP is data."""

WITH_LENGTH: Final = frozenset({"honest_head", "answer_in_body", "spaces", "chunked_and_length"})
"""Deeds whose length can be believed; the lengths of all others are dropped, and the executor frames."""


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
            assert not lengths + codings, headers
            return b"", True
        if lengths:
            assert re.fullmatch("[0-9]+", lengths[0])
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
    said: int


def ask(arena: Arena, deed: DeedRecord) -> Seen:
    """Ask for a deed, and for a harmless answer behind it."""
    hook = "unread" if deed.name == UNREAD else HOOK_OF.get(deed.ends, "hostile")
    first = f"POST /e/{hook}/deed/pipe/{deed.name} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}"
    second = "GET /e/hostile/hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    with arena.executor.raw() as connection:
        connection.send((first + second).encode())
        if deed.name == UNREAD:
            wait_killed(arena, "unread")
        answer = read_answer(connection)
        following = read_answer(connection) if answer is not None and answer.whole else None
        rest = connection.read_all() if answer is None or answer.whole else b""
    assert rest == b"", f"{deed.name} {answer}: {rest[:500]!r}"
    assert answer is not None
    figures = arena.executor.invocation(answer.headers["x-invocation-id"][0])
    return Seen(answer, following, figures["outcome"], figures["detail"], figures["log_records"])


def wait_killed(arena: Arena, hook: str) -> None:
    """Wait until the one worker of a hook is no more, although its answer is not read."""
    (worker,) = arena.executor.wait_workers(1, hook_id=hook, state="responding")
    wait_until(lambda: not psutil.pid_exists(worker["pid"]), 30)


class Results:
    """What came of the deeds, each done once: those that wait for a clock side by side, the others meanwhile.

    Args:
        arena: Where.
        deeds: Those that will be asked for.
    """

    def __init__(self, arena: Arena, deeds: list[DeedRecord]) -> None:
        self.arena = arena
        self.batch = Batch(lambda deed: ask(arena, deed), [deed for deed in deeds if deed.ends in HOOK_OF], 8)

    def result(self, deed: DeedRecord) -> Seen:
        """Tell what came of one deed."""
        return self.batch.result(deed) if deed.ends in HOOK_OF else ask(self.arena, deed)


@pytest.fixture(scope="module", params=["root", "rootless"])
def results(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Results]:
    """Everything is said once; afterwards the supervisor is as it was."""
    user = user_for(request.param)
    with open_arena(plugins, HOOKS, user=user, limits={"log_output": "64 KiB"}) as arena:
        arena.hello()
        memory, descriptors = arena.memory(), arena.executor.resting_descriptors()
        results = Results(arena, chosen(request, "deed"))
        with contextlib.closing(results.batch):
            yield results
        arena.wait_alone()
        assert arena.hello(time_s=2) == "hello there"
        assert arena.memory() < memory + 24 * MIB
        arena.executor.wait_descriptors(descriptors + 31)
        assert arena.executor.own_failures() == []


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_only_its_own_request_suffers(results: Results, deed: DeedRecord) -> None:
    """It ends as it is documented, is said why, and the next answer on the same connection is the right one."""
    seen = results.result(deed)
    assert seen.outcome in (deed.ends or ("ok",)), f"{deed.tries}: {seen.outcome}, {seen.detail}"
    assert seen.answer is not None
    headers = seen.answer.headers
    assert len(headers["x-invocation-id"][0]) == 36
    if seen.outcome == "ok":
        check_answer(deed, seen.answer)
    else:
        assert seen.detail
        assert "set-cookie" not in headers
    if seen.outcome == "timeout.first_byte":
        assert seen.said == 1, "it was not done in time"
    if seen.outcome == "timeout.wall":
        assert seen.answer.status == 200, "it was not begun in time"
    if seen.outcome != "ok" and headers.get("content-type") != ["application/problem+json"]:
        assert not seen.answer.whole or seen.answer.status in BODILESS
        assert seen.next is None
    else:
        assert seen.answer.whole
        assert seen.next is not None
        assert (seen.next.status, seen.next.body) == (200, b"hello ")


def check_answer(deed: DeedRecord, answer: Answer) -> None:
    """See that an answer has what was said rightly, framed by the executor, and nothing else."""
    assert answer.body == BODIES.get(deed.name, b"first")
    assert set(answer.headers) <= {"date", "content-length", "transfer-encoding", "x-invocation-id", "x"}
    assert answer.headers.get("content-length") == (["5"] if deed.name in WITH_LENGTH else None)
    assert answer.headers.get("x") == (["a"] if deed.name == "honest_head" else None)


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_its_twin_ends_otherwise(deed: DeedRecord) -> None:
    """The same means, used rightly, end in another way: so a deed does not end as it does whatever is said."""
    twin = BY_NAME[deed.twin]
    assert twin.ends != deed.ends or (deed.ends, twin.ends) == ((), ())
    assert twin.ends in {(), ("endpoint.load",)}


RIGHT: Final = b"HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 5\r\n\r\nfirst"


def is_right(stream: bytes) -> bool:
    """Whether what comes on a connection is one answer, and the one that `honest_head` should give."""
    ours, theirs = socket.socketpair()
    with RawConnection(ours) as connection, theirs:
        theirs.sendall(stream)
        theirs.shutdown(socket.SHUT_WR)
        try:
            answer = read_answer(connection)
            assert answer is not None
            assert answer.whole
            check_answer(BY_NAME["honest_head"], answer)
            assert connection.read_all() == b""
        except AssertionError:
            return False
        return True


@pytest.mark.parametrize(
    ("found", "smuggled"),
    [
        (b"h: 5", b"h: +5"),
        (b"h: 5", b"h: 5, 5"),
        (b"h: 5", b"h: "),
        (b"h: 5", b"h: 3"),
        (b"h: 5", b"h: 9"),
        (b"h: 5", b"h: 5\r\ncontent-length: 5"),
        (b"h: 5", b"h: 5\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 5", b"Transfer-Encoding: x, chunked"),
        (b"X: a", b"X : a"),
        (b"X: a", b"X: a\r\n b"),
        (b"X: a", b"X: a\nY: b"),
        (b"X: a", b"X: a\r\nSet-Cookie: b=c"),
        (b"200 OK", b"204 No Content"),
        (b"200 OK\r\nX: a\r\nContent-Length: 5", b"204 No Content\r\nX: a"),
        (b"first", b"first" + RIGHT),
    ],
)
def test_a_split_answer_is_noticed(found: bytes, smuggled: bytes) -> None:
    """The reader takes the answer that is due, and none that has more in it or can be read in two ways."""
    assert is_right(RIGHT)
    assert not is_right(RIGHT.replace(found, smuggled))
