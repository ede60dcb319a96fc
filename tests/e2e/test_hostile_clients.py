"""Clients that send what no client should: each is answered or cut off in bounded time, and harms nobody else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import psutil
import pytest

from executor.gateway.http_protocol import PIPELINED
from tests.e2e.harness import LAB, Executor, until

pytestmark = pytest.mark.e2e

HEAD = b" /e/lab/%s HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /e/lab/status/200 HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /e/lab/status/202 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
POST = b"POST /e/lab/echo HTTP/1.1\r\nHost: h\r\n"


@pytest.fixture(scope="module")
def patient() -> Iterator[Executor]:
    """A lab with short times; afterwards nothing of ours went wrong, and nothing is left."""
    config = {
        "plugins": [str(LAB)],
        "hooks": {"lab": {}, "hasty": {"plugin": "lab", "limits": {"client_idle_time": "1s"}}},
        "limits": {"request_body": "100 KiB", "cancel_grace_time": "100ms"},
        "http": {"header_time": "1s", "connections": 64},
    }
    with Executor(config=config) as executor:
        executor.get("/status/200")
        resting, descriptors = executor.resting_processes(), executor.resting_descriptors()
        yield executor
        executor.wait_workers(0)
        assert executor.resting_processes() == resting
        executor.wait_descriptors(descriptors + 2)
        assert executor.own_failures() == []


def ask(executor: Executor, data: bytes) -> bytes:
    """Send these bytes; everything that comes back until the connection ends."""
    with executor.raw() as connection:
        connection.send(data)
        return connection.read_all()


def closing(head: bytes) -> bytes:
    """Ask for the end of the connection, so that the test need not wait for it."""
    return head + b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET"),
        (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET"),
        (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (501, POST + b"Transfer-Encoding: gzip\r\n\r\nabc"),
        (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (400, POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        (400, POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        *((400, POST + b"Content-Length: %s\r\n\r\nabc" % bad) for bad in (b"-3", b"+3", b"0x3", b"3, 3", b"", b"3 3")),
        (400, POST + b"Content-Length: %d\r\n\r\nabc" % 2**70),
        (400, POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"),
        (400, POST + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"),
        (400, POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc"),
        (400, b"GET /e/lab/info HTTP/1.1\r\n\r\n"),
        (400, b"GET /e/lab/info HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET /e/lab/info HTTP/1.1\r\nHost: %s\r\n\r\n" % (b"a" * 5000)),
        (400, b"GET /e/lab/info HTTP/1.1\r\nHost: a/b\xff\r\n\r\n"),
        (400, b"GET /e/lab/info HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n"),
        (400, b"GET /e/lab/info HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
        (400, b"GET /e/lab/info HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n"),
        (400, b"GET /e/lab/deep/\x00 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET /e/lab/deep/\xc3\xa9?\xff HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"FETCH /e/lab/info HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello"),
        (501, b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\nsecret"),
        (505, b"GET /e/lab/info\r\n\r\n"),
        (505, b"GET /e/lab/info HTTP/2.0\r\nHost: h\r\n\r\n"),
        (404, closing(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n") + b"\r\n"),
        (405, closing(b"PROPFIND" + HEAD % b"info") + b"\r\n"),
        (200, closing(b"GET http://h/e/lab/info HTTP/1.1\r\nHost: h\r\n") + b"\r\n"),
        (200, closing(b"GET" + HEAD % b"deep/%zz%00%ff%C3%28") + b"\r\n"),
        (413, closing(POST) + b"Content-Length: %d\r\n\r\n" % 2**63),
        (500, closing(b"HEAD" + HEAD % b"raise/runtime") + b"\r\n"),
    ],
)
def test_one_answer_and_the_end(patient: Executor, status: int, data: bytes) -> None:
    """What can be read in more than one way, or not at all, is refused; the rest is served."""
    answer = ask(patient, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert b"connection: close\r\n" in answer
    if data.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


def test_old_clients_get_no_chunks(patient: Executor) -> None:
    """The end of the connection is the end of the body; a length is told where it is known."""
    answer = ask(patient, b"GET /e/lab/stream/3/4 HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"x" * 12
    assert b"transfer-encoding" not in head
    answer = ask(patient, b"GET /e/lab/status/200 HTTP/1.0\r\n\r\n")
    assert b"content-length: 10\r\n" in answer
    assert answer.endswith(b"\r\n\r\nstatus 200")


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_an_upgrade_is_passed_over(patient: Executor, protocol: bytes) -> None:
    """The request is served with its body, and so is the next one on the connection."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: %s\r\n" % protocol
    bodies = (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    with patient.raw() as connection:
        for body in bodies:
            connection.send(POST + upgrade + body)
            connection.read_until(b"\r\n\r\n")
            assert connection.read_until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
        connection.send(b"GET" + HEAD % b"status/201" + upgrade + b"\r\n" + GET)
        assert connection.read_until(b"status 201")
        assert connection.read_until(b"status 200")
        connection.send(POST + upgrade + b"Content-Length: 4\r\n\r\na")
        patient.wait_workers(1, rule="/echo", bytes_in=1)
        connection.send(b"bcd" + LAST)
        assert b"abcd" in connection.read_until(b"status 202").replace(b"\r\n3\r\n", b"").replace(b"1\r\n", b"")


def test_trailers_are_not_headers(patient: Executor) -> None:
    """What comes after the body cannot replace what was said before it."""
    data = b"POST" + HEAD % b"info" + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n"
    answer = ask(patient, data + b"Host: evil\r\nX-Late: 1\r\nX-Forwarded-Proto: https\r\n\r\n")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert seen["body"] == "abc"
    assert seen["host"] == "h"
    assert "x-late" not in {name.lower() for name, _ in seen["headers"]}


def test_pipelined_requests_are_answered_in_order(patient: Executor) -> None:
    """Some may be sent before the first answer; what follows them is answered or closed, never collected."""
    numbers = range(200, 209)
    data = b"".join(b"GET" + HEAD % (b"status/%d" % number) + b"\r\n" for number in numbers if number not in (204, 205))
    answer = ask(patient, data + LAST)
    found = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert found == [200, 201, 202, 203, 206, 207, 208, 202]


def test_a_flood_of_pipelined_requests_is_not_collected(patient: Executor) -> None:
    """A connection's answers are bounded by what it may have waiting; the supervisor's memory is, too."""
    supervisor = psutil.Process(patient.process.pid)
    before = supervisor.memory_info().rss
    flood = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 1_000_000
    with patient.raw() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # closed before all of it had been sent
            connection.send(flood)
        assert connection.read_all().count(b"HTTP/1.1 ") <= PIPELINED + 2
    assert supervisor.memory_info().rss < before + (16 << 20)


def test_a_pipelining_client_that_leaves_is_noticed(patient: Executor) -> None:
    """It is the request being answered that must hear of it, not only the last one."""
    with patient.raw() as connection:
        connection.send(b"GET" + HEAD % b"wait/30" + b"\r\n" + GET * 3)
        patient.wait_workers(1, rule="/wait/<seconds>", state="running")
    patient.wait_workers(0)


def test_garbage_after_a_request_does_not_cost_its_answer(patient: Executor) -> None:
    """A body that is longer than declared: the declared part is served, the rest ends the connection."""
    answer = ask(patient, POST + b"Content-Length: 3\r\n\r\nabcdef and more")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"3\r\nabc\r\n0\r\n\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_late_second_head_does_not_cost_the_first_answer(patient: Executor) -> None:
    """The time for heads is over before the first answer is complete."""
    answer = ask(patient, b"GET" + HEAD % b"wait/1.5" + b"\r\nGET /e/lab/st")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"end" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("stray", [b"\r\n", b"\r\n\r\n\r\n"])
def test_stray_bytes_do_not_keep_a_connection(patient: Executor, stray: bytes) -> None:
    """Line ends after a request are passed over, and are no reason to wait for ever."""
    with patient.raw() as connection:
        connection.send(GET)
        connection.read_until(b"status 200")
        connection.send(stray)
        assert connection.read_all() == b""


def test_an_unasked_body_may_be_left_out(patient: Executor) -> None:
    """A client that waits for `100 Continue` and is refused may go on with its body or not: the connection ends."""
    for path in (b"echo", b"nothing/here"):
        answer = ask(patient, b"POST" + HEAD % path + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 404 "))
        assert b"connection: close\r\n" in answer


def test_a_promised_body_that_never_comes(patient: Executor) -> None:
    """408, whether it was asked for with `100 Continue` or not."""
    for expect in (b"", b"Expect: 100-continue\r\n"):
        with patient.raw() as connection:
            connection.send(POST.replace(b"lab", b"hasty") + expect + b"Content-Length: 3\r\n\r\n")
            assert b"client.timeout" in connection.read_until(b"client.timeout")


def test_a_connection_can_be_used_again_once_the_body_has_come(patient: Executor) -> None:
    """The rest of a refused body is passed over, and is not taken for a request."""
    body = LAST.ljust(200 * 1024, b"\n")
    with patient.raw() as connection:
        connection.send(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        assert connection.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")
        connection.send(body)
        connection.send(LAST)
        answer = connection.read_all()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"status 202")


BULK = 8 << 20
"""More than fits into the buffers of a connection: whoever sends it waits until it is read."""


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (413, POST.replace(b"1.1", b"1.0") + b"Content-Length: %d\r\n\r\n" % BULK),
        (413, closing(POST) + b"Content-Length: %d\r\n\r\n" % BULK),
        (413, POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % BULK),
        (404, closing(b"POST" + HEAD % b"nothing/here") + b"Content-Length: %d\r\n\r\n" % BULK),
        (431, POST + b"X: "),
        (414, b"GET /e/lab/"),
    ],
)
def test_who_sends_all_before_it_reads_is_not_reset(patient: Executor, status: int, head: bytes) -> None:
    """The answer comes early and ends the connection; what is still being sent is taken, as in one that stays open."""
    with patient.raw() as connection:
        connection.send(head + b"x" * BULK)
        assert connection.read_all().startswith(b"HTTP/1.1 %d " % status)


def test_what_follows_the_rest_of_a_body_is_no_request(patient: Executor) -> None:
    """The connection ends with it, as the answer said."""
    with patient.raw() as connection:
        connection.send(closing(POST) + b"Content-Length: %d\r\n\r\n" % BULK)
        connection.read_until(b"413")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.send(b"x" * BULK + LAST * 2)
        assert b"HTTP/1.1" not in connection.read_all()


def test_a_client_that_closes_its_half_has_gone(patient: Executor) -> None:
    """As for nginx: TCP does not tell it from one that has closed both."""
    with patient.raw() as connection:
        connection.send(b"GET" + HEAD % b"wait/30" + b"\r\n")
        patient.wait_workers(1, rule="/wait/<seconds>", state="running")
        connection.sock.shutdown(1)
        assert connection.read_all() == b""
    patient.wait_workers(0)


@pytest.mark.parametrize("length", [b"Content-Length: 50000\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"])
def test_a_client_that_leaves_within_its_body(patient: Executor, length: bytes) -> None:
    """The worker is ended; nobody is answered."""
    with patient.raw() as connection:
        connection.send(POST + length)
        patient.wait_workers(1, rule="/echo", bytes_in=3)
    patient.wait_workers(0)


def test_connections_over_the_limit_are_closed(patient: Executor) -> None:
    """And there is room again when the others have gone."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(patient.raw()) for _ in range(80)]
        assert all(connection.read_all() == b"" for connection in connections[64:])
    assert any(ask(patient, LAST).startswith(b"HTTP/1.1 202 ") for _ in until(60))
