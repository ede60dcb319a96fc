"""The load is what the plan says, and wrong answers are noticed. Nothing here is about time."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from tests.bench.load import Load, Plan, make_load
from tests.bench.support import serve
from tests.bench.workloads import HELLO, STREAM, http_request, read_slow_path, sdk_request, slow_workload


def load(answers: list[bytes], **plan: object) -> tuple[Load, int, int]:
    """Put load on a server that gives these bodies in turn; also how many connections and requests it saw."""
    wire = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body) for body in answers]

    async def run() -> tuple[Load, int, int]:
        async with serve(wire) as server:
            fields: dict[str, Any] = {
                "port": server.port,
                "request": base64.b64encode(http_request(HELLO)).decode(),
                "content": "you",
                "least_size": 8,
                **plan,
            }
            made = await make_load(Plan(**fields))
        return made, server.connections, server.requests

    return asyncio.run(run())


def test_a_closed_loop_has_one_connection_for_each_client() -> None:
    """And makes as many requests as the plan says."""
    made, connections, requests = load([HELLO.content], mode="closed", clients=3, requests=50)
    assert (made.failed, len(made.times_ms), connections, requests) == (0, 50, 3, 50)
    assert made.elapsed_s > 0


def test_a_burst_is_as_many_requests_on_as_many_connections() -> None:
    """Each on its own."""
    made, connections, requests = load([HELLO.content], mode="burst", clients=20)
    assert (made.failed, len(made.times_ms), connections, requests) == (0, 20, 20, 20)


def test_an_open_loop_sends_at_its_rate_for_its_time() -> None:
    """However many connections that takes."""
    made, _, requests = load([HELLO.content], mode="open", rate=400.0, seconds=0.25)
    assert (made.failed, len(made.times_ms), requests) == (0, 100, 100)


def test_an_open_loop_ends_with_its_last_request() -> None:
    """When the plan says how many there are."""
    made, _, requests = load([HELLO.content], mode="open", rate=400.0, requests=30)
    assert (made.failed, len(made.times_ms), requests) == (0, 30, 30)


def test_first_pieces_have_times_too() -> None:
    """None is later than the end of its answer, and some answer was on its way at some time."""
    made, _, _ = load([HELLO.content], mode="closed", clients=4, requests=40)
    assert len(made.first_ms) == 40
    assert all(0 < first <= last for first, last in zip(made.first_ms, made.times_ms, strict=True))
    assert 1 <= made.open_most <= 4


@pytest.mark.parametrize("wrong", [b"you", b"somebody else", b""])
def test_wrong_answers_are_failures(wrong: bytes) -> None:
    """Too short ones and others; their times do not count."""
    made, _, _ = load([HELLO.content, wrong], mode="closed", requests=10)
    assert (made.failed, len(made.times_ms)) == (5, 5)
    assert "status 200" in made.failures[0]
    assert len(made.failures) == 3


def test_requests_are_what_servers_expect() -> None:
    """The SDK's carries the same request, in hexadecimal."""
    assert http_request(HELLO, prefix="/e/x").startswith(b"GET /e/x/hello/you HTTP/1.1\r\nHost: ")
    assert b"Content-Length: 1024\r\n" in http_request(STREAM)
    assert b"\r\nConnection: close\r\n" in sdk_request(STREAM)
    assert http_request(STREAM).hex().encode() in sdk_request(STREAM)


def test_a_slow_stream_is_known_by_its_path() -> None:
    """How many pieces and which pause are in it."""
    stream = slow_workload(250, pieces=4)
    assert (stream.path, stream.size) == ("/slow/4/250", 4 * len(stream.content))
    assert read_slow_path(stream.path) == stream
    assert read_slow_path(HELLO.path) is None
