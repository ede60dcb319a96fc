"""Every limit, met."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.duplex import begun
from tests.e2e.harness import LAB, Executor

pytestmark = pytest.mark.e2e


HOOKS: dict[str, dict[str, Any]] = {
    "lab": {},
    "unanswering": {"first_byte_time": "3s"},
    "pausing": {"idle_time": "2s"},
    "brief": {"wall_time": "8s", "response_body": "1 GiB"},
    "silent": {"client_idle_time": "2s"},
}
"""Limits by hook. Times are short only for those who wait for them: nobody else is raced by a clock."""

SLOW = {
    "unanswering": "/wait/600",
    "pausing": "/wait/600?where=middle",
    "brief": "/stream/100000000/1",
    "lab": "/wait/600?where=close",
}
"""What takes as long as a limit lets it, by hook."""


@pytest.fixture(scope="module")
def tight() -> Iterator[Executor]:
    """The lab under small limits."""
    config = {
        "plugins": [str(LAB)],
        "hooks": {name: {"plugin": "lab", "limits": limits} for name, limits in HOOKS.items()},
        "limits": {
            "cancel_grace_time": "500ms",
            "request_body": "100 KiB",
            "response_body": "1 MiB",
            "log_output": "16 KiB",
            "log_line": "1 KiB",
        },
        "http": {"header_count": 20, "header_size": "4 KiB", "url_size": "2 KiB", "header_time": "4s"},
    }
    with Executor(config=config) as executor:
        yield executor


Slow = dict[str, Future[tuple[httpx.Response, bool]]]


@pytest.fixture(scope="module")
def slow(tight: Executor) -> Iterator[Slow]:
    """What came of what takes long, by hook: all of it is asked for at once."""
    with ThreadPoolExecutor(len(SLOW)) as pool:
        yield {hook: pool.submit(read, tight, f"{tight.url}/e/{hook}{path}") for hook, path in SLOW.items()}


def outcome(executor: Executor, answer: httpx.Response) -> Any:
    """How an answered request ended."""
    return executor.invocation(answer.headers["x-invocation-id"])["outcome"]


CUT = (httpx.RemoteProtocolError, httpx.ReadError)
"""How a client sees that it was cut off: an end before the end, or a reset where data was still on its way."""


def read(executor: Executor, path: str) -> tuple[httpx.Response, bool]:
    """GET a path; the answer, and whether it is whole."""
    with executor.client() as client, client.stream("GET", path) as answer:
        try:
            answer.read()
        except CUT:
            return answer, False
        return answer, True


def test_time_to_the_first_byte(tight: Executor, slow: Slow) -> None:
    """504, and the worker is gone."""
    answer, _ = slow["unanswering"].result()
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout.first_byte")
    assert outcome(tight, answer) == "timeout.first_byte"


@pytest.mark.parametrize(("hook", "end"), [("pausing", "timeout.idle"), ("brief", "timeout.wall")])
def test_times_of_an_answer_that_has_begun(tight: Executor, slow: Slow, hook: str, end: str) -> None:
    """The connection is cut: after a pause; and in the end, although every limit within is kept."""
    answer, whole = slow[hook].result()
    assert not whole
    assert outcome(tight, answer) == end


def test_a_hook_on_close_cannot_hold_the_worker_for_ever(tight: Executor, slow: Slow) -> None:
    """The client has its answer; the worker is killed after a while."""
    answer, whole = slow["lab"].result()
    assert whole
    assert answer.text == "beginend"
    figures = tight.invocation(answer.headers["x-invocation-id"])
    assert figures["outcome"] == "ok"
    assert "SIGKILL" in figures["exit"]


@pytest.mark.parametrize("known", [True, False])
def test_request_body(tight: Executor, known: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """413, whether the length is told beforehand or not; exactly at the limit is fine."""
    size = 100 * 1024
    with tight.client() as client:
        fitting, over = b"b" * size, b"b" * (size + 1)
        assert client.post("/echo", content=fitting if known else iter([fitting])).status_code == 200
        answer = client.post("/echo", content=over if known else iter([over]))
    assert (answer.status_code, answer.json()["code"]) == (413, "limit.request_body")


def test_response_body(tight: Executor) -> None:
    """Over the limit the connection is cut; exactly at it the response is whole."""
    assert len(tight.get("/stream/16/65536").content) == 1 << 20
    answer, whole = read(tight, "/stream/17/65536")
    assert not whole
    assert outcome(tight, answer) == "limit.response_body"


def test_a_client_that_stops_sending(tight: Executor) -> None:
    """408 when the body does not come."""
    with tight.raw() as connection:
        connection.send(b"POST /e/silent/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345")
        answer = connection.read_all()
    assert answer.startswith(b"HTTP/1.1 408 "), answer


def test_a_client_that_stops_reading() -> None:
    """The connection is closed and the worker ended."""
    with Executor(config={"plugins": [str(LAB)], "limits": {"client_idle_time": "500ms"}}) as executor:
        with executor.raw() as connection:
            connection.send(b"GET /e/lab/stream/2000/65536 HTTP/1.1\r\nHost: h\r\n\r\n")
            connection.read_until(b"\r\n\r\n")
            figures = executor.wait_event("invocation", outcome="client.timeout")
            with pytest.raises((EOFError, ConnectionResetError)):
                connection.read_exactly(2000 * 65536)
        assert figures["bytes_out"] < 64 << 20
        executor.wait_workers(0)


def test_head_limits(tight: Executor) -> None:
    """431 and 414, without an invocation."""
    many = {f"X-{number}": "1" for number in range(30)}
    assert tight.get("/info", headers=many).status_code == 431
    assert tight.get("/info", headers={"X-Long": "v" * 5000}).status_code == 431
    assert tight.get("/info?" + "q" * 3000).status_code == 414
    assert tight.get("/info").status_code == 200


def test_a_header_without_an_end(tight: Executor) -> None:
    """Neither an endless header nor an endless trailer is collected."""
    for start in (
        b"GET /e/lab/info HTTP/1.1\r\nX: ",
        b"POST /e/lab/info HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ):
        with tight.raw() as connection:
            connection.send(start)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                connection.send(b"y" * (128 << 20))


def test_a_head_that_never_comes(tight: Executor) -> None:
    """The connection is closed in the end."""
    with tight.raw() as mute, tight.raw() as slow:
        slow.send(b"GET / HT")
        assert mute.read_all() == b""
        assert slow.read_all() == b""


def test_a_flood_of_output(tight: Executor) -> None:
    """A worker that only prints is ended."""
    answer = tight.get("/flood/stdout")
    assert (answer.status_code, answer.json()["code"]) == (502, "limit.log_output")


def test_output_over_the_limit_is_dropped(tight: Executor) -> None:
    """A worker that prints too much is served, its output is cut."""
    config = {"plugins": [str(LAB)], "limits": {"log_output": "1 MiB"}}
    with Executor(config=config) as executor:
        answer = executor.get("/flood/some")
        assert answer.text == "flooded"
        figures = executor.invocation(answer.headers["x-invocation-id"])
    assert figures["log_records"] == pytest.approx(1025, abs=2)
    assert figures["log_dropped_bytes"] > 1 << 20


def test_concurrency_of_a_hook() -> None:
    """Requests over the hook's limit wait; over its queue they get 429; over all places and the queue of all, 503."""
    hook = {"plugin": "lab", "limits": {"concurrency": 1, "queue_length": 1}}
    config = {
        "plugins": [str(LAB)],
        "hooks": {"lab": {}, "narrow": hook},
        "admission": {"concurrency": 3, "queue_length": 2, "queue_time": "10m"},
    }
    with Executor(config=config) as executor, ThreadPoolExecutor(2) as pool:
        narrow = f"{executor.url}/e/narrow/status/200"
        with begun(executor, "narrow") as running:
            waiting = pool.submit(executor.get, narrow)
            executor.wait_metric("executor_queue_length", 1)
            for refused in (executor.get(narrow) for _ in range(2)):
                assert (refused.status_code, refused.json()["code"]) == (429, "queue.hook")
                assert int(refused.headers["retry-after"]) >= 1
            running.finish()
            assert waiting.result().status_code == 200
        with begun(executor) as one, begun(executor) as two, begun(executor) as three:
            wide = [pool.submit(executor.get, "/status/200") for _ in range(2)]
            executor.wait_metric("executor_queue_length", 2)
            for refused in (executor.get("/status/200") for _ in range(2)):
                assert (refused.status_code, refused.json()["code"]) == (503, "queue.full")
            for running in (one, two, three):
                running.finish()
            assert [future.result().status_code for future in wide] == [200, 200]
        executor.wait_workers(0)
        assert executor.get("/status/200").status_code == 200


def test_a_wait_that_is_too_long() -> None:
    """It ends with 503."""
    config = {"plugins": [str(LAB)], "admission": {"concurrency": 1, "queue_time": "200ms"}}
    with Executor(config=config) as executor, begun(executor):
        refused = executor.get("/status/200")
        assert (refused.status_code, refused.json()["code"]) == (503, "queue.full")


def test_levels_of_limits() -> None:
    """The hook's limit goes before the plugin's, the plugin's before the general one."""
    config = {
        "plugins": [{"path": str(LAB), "limits": {"request_body": "20 B"}}],
        "hooks": {"lab": {}, "own": {"plugin": "lab", "limits": {"request_body": "30 B"}}},
        "limits": {"request_body": "10 B"},
    }
    with Executor(config=config) as executor, executor.client() as client:
        for hook, limit in (("lab", 20), ("own", 30)):
            assert client.post(f"{executor.url}/e/{hook}/echo", content=b"x" * limit).status_code == 200
            assert client.post(f"{executor.url}/e/{hook}/echo", content=b"x" * (limit + 1)).status_code == 413
