"""The admin listener: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from executor.figures.admin import create_admin_app
from executor.figures.hosts import host_allowed
from executor.figures.live import Snapshot
from executor.figures.registry import Registry
from executor.outcome import Outcome
from tests.executor.figures.support import IDLE, figures, worker

ADDRESSES = ["/", "/healthz", "/metrics", "/readyz", "/stats", "/workers"]


def request(
    path: str,
    *,
    method: str = "GET",
    snapshot: Callable[[], Snapshot] = lambda: IDLE,
    registry: Registry | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Make one request to the real application."""
    app = create_admin_app(registry or Registry(), snapshot, ["metrics.example"])

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


def test_health_needs_nothing() -> None:
    """The process answers; that is all it says."""
    response = request("/healthz", snapshot=lambda: dataclasses.replace(IDLE, ready=False))
    assert (response.status_code, response.text) == (200, "ok\n")


def test_ready_means_ready() -> None:
    """Or else why not."""
    assert request("/readyz").json() == {"ready": True, "draining": False, "reasons": []}
    waiting = dataclasses.replace(IDLE, ready=False, reasons=("no worker of rainbow_cat has answered yet",))
    response = request("/readyz", snapshot=lambda: waiting)
    assert response.status_code == 503
    assert response.json()["reasons"] == ["no worker of rainbow_cat has answered yet"]


def test_metrics_are_those_of_the_moment() -> None:
    """The gauges come from the snapshot, the rest from what was recorded."""
    registry = Registry()
    registry.record(figures())
    response = request("/metrics", registry=registry, snapshot=lambda: dataclasses.replace(IDLE, queued=7))
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert families["executor_queue_length"].samples[0].value == 7
    assert families["executor_invocations"].samples[0].value == 1


def test_statistics_are_json() -> None:
    """As the registry has them."""
    registry = Registry()
    registry.record(figures(outcome=Outcome.TIMEOUT_WALL))
    document = request("/stats", registry=registry).json()
    assert document["hooks"]["cat"]["outcomes"] == {"timeout.wall": 1}
    assert document["totals"]["duration_s"]["p99"] == 0.02


def test_live_workers_have_figures_of_the_system() -> None:
    """Measured now, by the process id; the oldest first."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        live = (worker(pid=child.pid, age_s=1.0), worker(pid=os.getpid(), age_s=2.0))
        document = request("/workers", snapshot=lambda: dataclasses.replace(IDLE, workers=live, queued=3)).json()
        assert child.stdin is not None
        child.stdin.close()
    assert document["queued"] == 3
    mine, other = document["workers"]
    assert (mine["pid"], other["pid"]) == (os.getpid(), child.pid)
    assert mine["rss_bytes"] > 1024**2
    assert mine["cpu_s"] > 0
    assert mine["threads"] >= 1
    assert mine["descendants"] >= 1
    assert other["descendants"] == 0
    assert (other["state"], other["rule"], other["bytes_out"]) == ("running", "/duck/<app_id>", 2048)


def test_a_worker_that_has_gone_meanwhile_is_still_listed() -> None:
    """Without the figures that nobody knows any more."""
    gone = multiprocessing.Process(target=int)
    gone.start()
    gone.join()
    assert gone.pid is not None
    live = (worker(pid=gone.pid), worker(pid=2**22 + 5))
    document = request("/workers", snapshot=lambda: dataclasses.replace(IDLE, workers=live)).json()
    assert [entry["rss_bytes"] for entry in document["workers"]] == [None, None]
    assert [entry["cpu_s"] for entry in document["workers"]] == [None, None]


@pytest.mark.parametrize("path", ADDRESSES)
def test_every_address_answers_head(path: str) -> None:
    """With the headers of GET and no body."""
    response = request(path, method="HEAD")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 0
    assert response.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_can_be_changed(method: str) -> None:
    """Only GET and HEAD are answered."""
    response = request("/workers", method=method)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert response.json()["code"] == "admin.method"


@pytest.mark.parametrize("path", ["/nope", "/workers/", "/metrics/x", "/%2e%2e/workers"])
def test_other_addresses_are_told(path: str) -> None:
    """As a problem document that names those that there are."""
    response = request(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "/metrics" in response.json()["detail"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8081", "[::1]:8081", "[::1]", "localhost", "LOCALHOST:1", "metrics.example:80",
             "10.1.2.3:8081", "localhost."],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/workers", "/metrics"])
def test_addresses_of_this_machine_are_served(host: str, path: str) -> None:
    """And names that are configured."""
    assert request(path, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", "", "[evil]",
             "metrics.example.evil", "0x7f000001", "2130706433x"],
)  # fmt: skip
@pytest.mark.parametrize("path", [*ADDRESSES, "/nope"])
def test_other_names_are_refused(host: str, path: str) -> None:
    """A web page could make its own name lead here; its browser would then let it read the answer."""
    response = request(path, headers={"host": host})
    assert response.status_code == 403
    assert response.json()["code"] == "admin.host"
    assert "admin.allowed_hosts" in response.json()["detail"]


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [([], True), (["127.0.0.1"], True), (["127.0.0.1", "127.0.0.1"], False), (["127.0.0.1", "evil.example"], False)],
)
def test_there_is_one_host_at_most(hosts: list[str], allowed: bool) -> None:  # noqa: FBT001 - a table
    """Old clients send none; two are an attempt."""
    assert host_allowed(hosts, frozenset()) is allowed


@pytest.mark.parametrize("path", [*ADDRESSES, "/nope"])
def test_no_other_origin_may_read(path: str) -> None:
    """No CORS, no sniffing, no embedding, no caching."""
    response = request(path, headers={"origin": "https://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"


def test_the_event_loop_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is done in a thread."""
    threads: list[Any] = []

    async def to_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        threads.append(function.__name__)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    for path in ADDRESSES:
        request(path)
    assert threads == ["render_metrics", "statistics", "describe_workers"]


def test_lifespan_and_websockets_are_understood() -> None:
    """A server may speak of them."""
    app = create_admin_app(Registry(), lambda: IDLE)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    asyncio.run(app({"type": "websocket"}, receive, send))
    with contextlib.suppress(KeyError):
        asyncio.run(app({"type": "unknown"}, receive, send))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "websocket.close",
    ]
