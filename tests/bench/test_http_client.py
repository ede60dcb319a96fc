"""The client understands what servers send, however it arrives, and takes nothing else for an answer."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench.http_client import AnswerError, Connection, ResponseReader
from tests.bench.support import serve

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
CHUNKS = CHUNKED_HEAD + b"3\r\nhel\r\nA;x=y\r\nlo\r\n\r\nworl\r\n0\r\nTrailer: 1\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [(LENGTH, 200, b"hello"), (CHUNKS, 200, b"hello\r\n\r\nworl"), (EMPTY, 204, b""), (CLOSING, 404, b"")],
)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_answers_are_read_in_any_pieces(answer: bytes, status: int, body: bytes, step: int) -> None:
    """The same comes of it, and it is complete with its last byte only."""
    reader = ResponseReader()
    for start in range(0, len(answer), step):
        assert not reader.done
        reader.feed(answer[start : start + step])
    assert (reader.done, reader.status, reader.kept, reader.size) == (True, status, body, len(body))
    assert reader.reusable == (answer is not CLOSING)


def test_an_answer_without_a_length_goes_to_the_end() -> None:
    """Only the end of the connection says that it is complete."""
    reader = ResponseReader()
    assert not reader.feed(b"HTTP/1.0 200 OK\r\n\r\nhel")
    assert not reader.feed(b"lo")
    reader.end()
    assert (reader.done, reader.kept, reader.reusable) == (True, b"hello", False)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        LENGTH + b"x",
        CHUNKS + b"x",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    """Rather than counted as one."""
    with pytest.raises(AnswerError):
        ResponseReader().feed(data)


@pytest.mark.parametrize("answer", [LENGTH, CHUNKS])
def test_an_answer_that_is_cut_is_refused(answer: bytes) -> None:
    """Wherever it is cut."""
    for size in range(len(answer)):
        reader = ResponseReader()
        assert not reader.feed(answer[:size])
        with pytest.raises(AnswerError, match="ended early"):
            reader.end()


def test_a_long_body_is_counted_but_not_kept() -> None:
    """So that memory does not depend on what a server sends."""
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(10):
        reader.feed(bytes(100_000))
    assert reader.done
    assert reader.size == 1_000_000
    assert len(reader.kept) == 65_536


def test_the_time_of_the_first_piece_is_noted() -> None:
    """As soon as a certain text is there, not before."""

    async def talk() -> None:
        async with serve([CHUNKS]) as server:
            connection = await Connection.open("127.0.0.1", server.port)
            for sign, seen in ((b"", True), (b"lo", True), (b"nothing", False), (b"hel", True)):
                await connection.ask(b"GET / HTTP/1.1\r\n\r\n", sign)
                assert bool(connection.first_ns) == seen
            connection.close()

    asyncio.run(talk())


def test_connections_are_kept_unless_one_side_says_otherwise() -> None:
    """A request with `Connection: close` ends its connection whatever the answer says."""

    async def talk() -> None:
        async with serve([LENGTH]) as server:
            connection = await Connection.open("127.0.0.1", server.port)
            for _ in range(3):
                assert (await connection.ask(b"GET / HTTP/1.1\r\n\r\n")).kept == b"hello"
                assert connection.usable
            assert (await connection.ask(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")).kept == b"hello"
            assert not connection.usable

    asyncio.run(talk())
