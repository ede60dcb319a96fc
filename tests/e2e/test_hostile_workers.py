"""Endpoints that speak on the worker's own pipes, or stop speaking: whatever they say, only they suffer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from protocol.frames import PREFACE
from tests import plain_http
from tests.e2e.harness import LAB, Executor
from tests.e2e.raw_connection import RawConnection

pytestmark = pytest.mark.e2e

MIB = 1 << 20


HOOKS: dict[str, dict[str, Any]] = {
    "lab": {},
    "unanswering": {"first_byte_time": "3s"},
    "pausing": {"idle_time": "2s"},
    "brief": {"wall_time": "10s"},
    "single": {"concurrency": 1, "client_idle_time": "2s"},
}
"""Limits by hook. Times are short only for those who wait for them: who is ended sooner is not raced by a clock."""

BEFORE = {
    "worker.protocol": (
        *("garbage", "oversized", "unknown-type", "second-ready", "chunk-before-head", "end-before-head"),
        *("status-100", "status-600", "header-injection", "header-name", "header-count", "unknown-error"),
        *("not-msgpack", "bad-log", "huge-credit", "half-a-frame", "closed-within-a-frame", "calls-unread", "calls"),
    ),
    "worker.crashed": ("close-all", "close-writing", "child-keeps-pipes", "killed-within-a-frame"),
    "endpoint.load": ("forged-load-error",),
    "limit.log_output": ("logs", "stderr-and-exit"),
    "timeout.first_byte": ("stop", "close-reading", "ignore-everything", "credits"),
}
CUT = {
    "two-heads": "worker.protocol",
    "two-heads-late": "worker.protocol",
    "too-long": "worker.protocol",
    "too-short": "worker.protocol",
    "killed-within-a-chunk": "worker.crashed",
    "stop-late": "timeout.idle",
    "tiny-chunks": "timeout.wall",
}
HOOK_OF = {"timeout.first_byte": "unanswering", "timeout.idle": "pausing", "timeout.wall": "brief"}


@pytest.fixture(scope="module")
def strict() -> Iterator[Executor]:
    """A lab with limits; afterwards nothing of ours went wrong, and nothing is left."""
    config = {
        "plugins": [str(LAB)],
        "hooks": {name: {"plugin": "lab", "limits": limits} for name, limits in HOOKS.items()},
        "limits": {"cancel_grace_time": "500ms", "log_output": "16 KiB"},
    }
    with Executor(config=config) as executor:
        executor.get("/status/200")
        resting, descriptors = executor.resting_processes(), executor.resting_descriptors()
        memory = psutil.Process(executor.process.pid).memory_info().rss
        yield executor
        executor.wait_workers(0)
        assert executor.resting_processes() == resting
        executor.wait_descriptors(descriptors + 2)
        assert psutil.Process(executor.process.pid).memory_info().rss < memory + 24 * MIB
        assert executor.own_failures() == []


def ask(executor: Executor, kind: str, outcome: str) -> tuple[httpx.Response, bool]:
    """Ask for a hostile answer; what came of it, and whether it was cut."""
    with executor.client() as client:
        url = f"{executor.url}/e/{HOOK_OF.get(outcome, 'lab')}/forge/{kind}"
        with client.stream("GET", url) as answer:
            try:
                answer.read()
            except (httpx.RemoteProtocolError, httpx.ReadError):
                return answer, True
            return answer, False


class Slow:
    """Answers that a clock ends, all asked for at once.

    Args:
        executor: Who is asked.
    """

    def __init__(self, executor: Executor) -> None:
        kinds = {**{kind: outcome for outcome, kinds in BEFORE.items() for kind in kinds}, **CUT}
        slow = {kind: outcome for kind, outcome in kinds.items() if outcome in HOOK_OF}
        self._executor = executor
        self._pool = ThreadPoolExecutor(len(slow))
        self._asked = {kind: self._pool.submit(ask, executor, kind, outcome) for kind, outcome in slow.items()}

    def ask(self, kind: str, outcome: str) -> tuple[httpx.Response, bool]:
        """Tell what came of one kind; what no clock ends is asked for now."""
        return self._asked[kind].result() if kind in self._asked else ask(self._executor, kind, outcome)

    def close(self) -> None:
        """Wait for all."""
        self._pool.shutdown()


@pytest.fixture(scope="module")
def answers(strict: Executor) -> Iterator[Slow]:
    """What is answered to each kind of hostile endpoint."""
    with contextlib.closing(Slow(strict)) as slow:
        yield slow


@pytest.mark.parametrize(("outcome", "kind"), [(outcome, kind) for outcome, kinds in BEFORE.items() for kind in kinds])
def test_an_answer_of_ours(strict: Executor, answers: Slow, outcome: str, kind: str) -> None:
    """Before a response has begun the client is told what happened, in the words of the documentation."""
    answer, cut = answers.ask(kind, outcome)
    assert not cut
    assert answer.json()["code"] == outcome
    assert answer.status_code == {"timeout": 504, "endpoint": 500}.get(outcome.partition(".")[0], 502)
    assert "set-cookie" not in answer.headers
    figures = strict.invocation(answer.headers["x-invocation-id"])
    assert figures["outcome"] == outcome
    assert figures["detail"]
    assert strict.get("/status/200").status_code == 200


@pytest.mark.parametrize(("kind", "outcome"), CUT.items())
def test_a_cut_connection(strict: Executor, answers: Slow, kind: str, outcome: str) -> None:
    """Once a response has begun, its end is missing and the client can tell."""
    answer, cut = answers.ask(kind, outcome)
    assert cut
    assert strict.invocation(answer.headers["x-invocation-id"])["outcome"] == outcome
    assert strict.get("/status/200").status_code == 200


@pytest.mark.parametrize("kind", ["after-end", "two-lengths", "framing", "die-after-forging"])
def test_a_forged_answer_is_an_answer(strict: Executor, kind: str) -> None:
    """What keeps to the protocol is passed on: whole, framed by us, and with nothing after its end."""
    answer = strict.get(f"/forge/{kind}")
    assert answer.content == b"first"
    assert "upgrade" not in answer.headers
    assert answer.headers.get("connection", "close") == "close"
    assert strict.invocation(answer.headers["x-invocation-id"])["outcome"] == "ok"


def test_misdeeds_after_the_answer_do_not_reach_the_next(strict: Executor) -> None:
    """The connection has gone on to the client's next request, which is not cut off for what the last worker does."""
    with strict.raw() as connection:
        connection.send(b"GET /e/lab/forge/late-after-length HTTP/1.1\r\nHost: h\r\n\r\n")
        head = connection.read_until(b"first").decode()
        connection.send(b"GET /e/lab/wait/0.9 HTTP/1.1\r\nHost: h\r\n\r\n")
        invocation_id = head.split("x-invocation-id: ")[1].split("\r\n")[0]
        assert strict.invocation(invocation_id)["outcome"] == "worker.protocol"
        assert connection.read_until(b"end").startswith(b"HTTP/1.1 200 ")


def test_a_worker_that_overruns_a_slow_client(strict: Executor) -> None:
    """It breaks the protocol while the client is waited for; the place in the queue comes back all the same."""
    for _ in range(2):
        with strict.raw() as connection:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.send(b"GET /e/single/forge/endless HTTP/1.1\r\nHost: h\r\n\r\n")
            head = connection.read_until(b"\r\n\r\n").decode()
            figures = strict.invocation(head.split("x-invocation-id: ")[1].split("\r\n")[0])
        assert figures["outcome"] in {"client.timeout", "timeout.wall", "worker.protocol"}  # what is noticed first
    assert strict.get(f"{strict.url}/e/single/status/200").status_code == 200


def test_many_chatterers_leave_time_for_others(strict: Executor) -> None:
    """Endless credits, calls and tiny chunks: the supervisor goes on serving."""
    kinds = ("credits", "calls", "tiny-chunks", "logs")
    with ThreadPoolExecutor(len(kinds)) as pool, contextlib.ExitStack() as stack:
        for kind in kinds:
            connection = stack.enter_context(strict.raw())
            connection.send(b"GET /e/lab/forge/%s HTTP/1.1\r\nHost: h\r\n\r\n" % kind.encode())
            stack.callback(hang_up, connection)
            pool.submit(read_on, connection)
        strict.wait_workers(1, hook_id="lab", rule="/forge/<kind>", state="responding")
        assert [strict.get("/status/200").status_code for _ in range(5)] == [200] * 5
    strict.wait_workers(0, hook_id="lab")


def hang_up(connection: RawConnection) -> None:
    """Have whoever reads from a connection see its end."""
    with contextlib.suppress(OSError):  # it has been closed by the other side
        connection.sock.shutdown(socket.SHUT_RDWR)


def read_on(connection: RawConnection) -> None:
    """Read to the end of a connection, and keep nothing."""
    with contextlib.suppress(OSError):
        while connection.sock.recv(65536):
            pass


def test_an_upload_to_a_worker_that_breaks_the_protocol(strict: Executor) -> None:
    """Whoever is still sending gets the answer."""
    with strict.client() as client:
        for hook, kind in (("lab", "garbage"), ("unanswering", "close-reading"), ("lab", "close-all")):
            answer = client.post(f"{strict.url}/e/{hook}/forge/{kind}", content=bytes(4 * MIB))
            assert answer.status_code in {502, 504}
            assert answer.json()["code"] in {"worker.protocol", "worker.crashed", "timeout.first_byte"}


def test_folders_without_end(strict: Executor) -> None:
    """They are removed before the invocation ends, however deep they are."""
    answer = strict.get("/forge/deep-folders")
    assert answer.text == "deep"
    assert strict.invocation(answer.headers["x-invocation-id"])["outcome"] == "ok"


def test_output_that_is_no_text(strict: Executor) -> None:
    """It is logged as well as it can be."""
    answer = strict.get("/forge/surrogates")
    figures = strict.invocation(answer.headers["x-invocation-id"])
    assert (figures["outcome"], figures["log_records"]) == ("ok", 3)


MANIFEST = """
version: 0.0.1
type: plugin
author: tests
name: early
label: {en_US: Early}
description: {en_US: Early}
created_at: "2026-01-01T00:00:00Z"
icon: icon.svg
resource: {memory: 1048576, permission: {}}
plugins: {endpoints: [group.yaml]}
meta: {version: 0.0.1, arch: [amd64], runner: {language: python, version: "3.12", entrypoint: main}}
"""

EARLY = (
    f"PREFACE = {PREFACE!r}"
    """
import os, struct, msgpack
from dify_plugin import Endpoint

def frame(kind, *fields):
    payload = msgpack.packb(list(fields))
    return struct.pack(">IB", len(payload), kind) + payload

os.write(1023, PREFACE + frame(0x41) + b"\\xff" * 99)

class Early(Endpoint):
    def _invoke(self, r, values, settings):
        return None
"""
)


def test_a_worker_that_lies_while_its_source_is_imported(tmp_path: Path) -> None:
    """It says that it is ready, and nonsense right after it, before it was asked anything."""
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "early.py").write_text(EARLY)
    (tmp_path / "group.yaml").write_text(
        "endpoints:\n  - {path: /, method: POST, extra: {python: {source: early.py}}}\n"
    )
    with Executor(tmp_path) as executor:
        for body in (b"", b"x" * 65536):
            answer = plain_http.post(f"{executor.url}/e/early/", content=body)
            assert (answer.status_code, answer.json()["code"]) == (502, "worker.protocol")
        executor.wait_workers(0)
        assert executor.own_failures() == []
