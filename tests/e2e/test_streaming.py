"""Streaming is real: pieces travel as they are made, and a slow side slows the other one down."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.e2e.harness import LAB, Executor
from tests.e2e.raw_connection import RawConnection

pytestmark = pytest.mark.e2e

MIB = 1 << 20


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP's chunked coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_the_first_chunk_comes_before_the_second_is_produced(lab: Executor) -> None:
    """The endpoint's next piece depends on what the client sends after it has seen the piece before."""
    with lab.raw() as connection:
        connection.send(b"POST /e/lab/duplex HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.read_until(b"ready\n")
        for number in range(5):
            line = b"line %d\n" % number
            connection.send(chunk(line))
            connection.read_until(b"got " + line)
        connection.send(b"0\r\n\r\n")
        assert connection.read_until(b"0\r\n\r\n")


def test_a_large_body_goes_through_unchanged(lab: Executor) -> None:
    """50 MiB up and down at the same time."""
    block = hashlib.sha256(b"seed").digest() * 2048

    def send(connection: RawConnection) -> None:
        for _ in range(800):
            connection.send(chunk(block))
        connection.send(b"0\r\n\r\n")

    with lab.raw() as connection, ThreadPoolExecutor(1) as pool:
        connection.send(b"POST /e/lab/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        sending = pool.submit(send, connection)
        connection.read_until(b"\r\n\r\n")
        received, size = hashlib.sha256(), 0
        while length := int(connection.read_until(b"\r\n"), 16):
            received.update(connection.read_exactly(length))
            connection.read_until(b"\r\n")
            size += length
        sending.result()
    assert size == 50 * MIB
    assert received.hexdigest() == hashlib.sha256(block * 800).hexdigest()


def read_a_little(executor: Executor) -> RawConnection:
    """Ask for an endless stream and read only its head."""
    connection = executor.raw()
    connection.send(b"GET /e/lab/stream/1600/65536 HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.read_until(b"\r\n\r\n")
    return connection


@pytest.mark.slow
@pytest.mark.parametrize(("clients", "most"), [(40, 140), pytest.param(100, 200, marks=pytest.mark.stress)])
def test_slow_clients_cost_little_memory(clients: int, most: int) -> None:
    """Clients that do not read 100 MiB responses: the supervisor stays below so many MiB, and so do the workers."""
    config = {
        "plugins": [str(LAB)],
        "limits": {"concurrency": clients, "client_idle_time": "10m", "wall_time": "10m"},
        "admission": {"concurrency": clients, "queue_time": "0s"},
    }
    with Executor(config=config) as executor:
        supervisor = psutil.Process(executor.process.pid)
        connections = [read_a_little(executor) for _ in range(clients)]
        try:
            workers = executor.wait_workers(clients, state="responding")
            assert supervisor.memory_info().rss < most * MIB
            assert all(worker["bytes_out"] < 16 * MIB for worker in workers), "back-pressure reached the workers"
            assert executor.get("/status/200").status_code == 429, "the rest is still answered"
        finally:
            for connection in connections:
                connection.sock.close()
        executor.wait_workers(0)


def test_a_slow_endpoint_slows_the_upload_down(lab: Executor) -> None:
    """A body that nobody reads is not collected by the supervisor."""
    with lab.raw() as connection:
        connection.send(
            b"POST /e/lab/wait/5 HTTP/1.1\r\nHost: h\r\nContent-Length: 104857600\r\n\r\n".replace(b"POST", b"GET")
        )
        connection.sock.setblocking(False)
        sent = 0
        worker = lab.wait_workers(1, rule="/wait/<seconds>")[0]
        for _ in range(10_000):
            try:
                sent += connection.sock.send(b"x" * 65536)
            except BlockingIOError:
                break
        assert sent < 32 * MIB
        assert worker["bytes_in"] < 2 * MIB
    lab.wait_workers(0)


def test_the_worker_hears_that_the_client_has_gone(lab: Executor) -> None:
    """The endpoint's generator is closed, its `finally` runs, and the process ends."""
    with lab.raw() as connection:
        connection.send(b"GET /e/lab/forever HTTP/1.1\r\nHost: h\r\n\r\n")
        head = connection.read_until(b"\r\n\r\n").decode().lower()
        connection.read_until(b"tick")
    invocation_id = head.split("x-invocation-id: ")[1].split("\r\n")[0]
    figures = lab.invocation(invocation_id)
    assert figures["outcome"] == "client.gone"
    lab.wait_event("endpoint.output", invocation_id=invocation_id, message="forever was closed")


def test_a_client_that_leaves_while_the_endpoint_works_ends_the_worker(lab: Executor) -> None:
    """Nobody waits for the answer: the worker is ended although it would sleep on."""
    with lab.raw() as connection:
        connection.send(b"GET /e/lab/wait/30 HTTP/1.1\r\nHost: h\r\n\r\n")
        lab.wait_workers(1, rule="/wait/<seconds>", state="running")
    lab.wait_workers(0)


def test_an_endpoint_need_not_read_its_body(lab: Executor) -> None:
    """The answer comes although most of the body was never taken."""
    with lab.client() as client:
        answer = client.post("/ignore", content=(b"y" * 65536 for _ in range(320)))
    assert answer.text == "ignored"
