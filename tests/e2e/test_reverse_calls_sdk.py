"""Reverse calls of the real SDK, the oldest and the newest: its own classes make them, over the worker's pipes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.e2e.test_environments import NEW, OLD, PYTHON
from tests.environments import build_environment, find_pythons

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CALLER = Path(__file__).parent.parent / "plugins" / "caller"


@pytest.fixture(scope="module", params=[OLD, NEW])
def service(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """The plugin, which has that SDK; nothing may be left of its calls."""
    environment = build_environment(f"dify_plugin=={request.param}", "msgpack==1.0.8", python=find_pythons()[PYTHON])
    config = {
        "plugins": [{"path": str(CALLER), "environment": str(environment)}],
        "reverse": {"target": "fixtures", "fixtures": str(CALLER / "fixtures.yaml")},
    }
    with Executor(config=config) as executor:
        yield executor
        executor.wait_metric("executor_reverse_calls_in_flight", 0)
        assert executor.own_failures() == []


@pytest.fixture(scope="module")
def client(service: Executor) -> Iterator[httpx.Client]:
    """A client of the plugin."""
    with plain_http.client(base_url=f"{service.url}/e/caller/do") as client:
        yield client


def do(client: httpx.Client, name: str, **given: Any) -> Any:
    """What an endpoint answers."""
    answer = client.post(f"/{name}", json=given)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_streams(client: httpx.Client) -> None:
    """Events come as they are made, and calls can be made within a stream."""
    events = [json.loads(line) for line in client.post("/stream", json={"query": "miau"}).text.splitlines()]
    assert "".join(event.get("answer", "") for event in events) == "you said: miau"
    assert do(client, "within", count=4) == [4, 11]


def test_kinds(client: httpx.Client) -> None:
    """Entities go out and come in, files are bytes on our pipes and what the SDK wants beyond them."""
    assert do(client, "kinds") == {
        "llm": "hello there",
        "embedding": [[0.5, 1.5]],
        "tts": b"abc".hex(),
        "speech": 'I heard "600000 bytes"',
        "tool": ['found {"q": 1}'],
    }


def test_threads_that_are_greenlets(client: httpx.Client) -> None:
    """While one waits for its answer the others go on: all wait side by side, not one after the other."""
    assert do(client, "threads", count=12) == [f"slow {number}" for number in range(12)]


def test_errors(client: httpx.Client) -> None:
    """The text of the exception is that of the target, or the daemon's where the manifest does not allow the call."""
    assert "the app a is tired (invocation " in do(client, "tell", query="broken")["error"]
    assert do(client, "denied") == {"error": "permission denied, you need to enable node access in plugin manifest"}


def test_uploads(client: httpx.Client) -> None:
    """The SDK would send the file itself, and has no network; it goes with the call."""
    answer = client.post("/upload", content=bytes(3 << 20), headers={"Content-Type": "image/png"})
    assert answer.json()[1:] == [3 << 20, "image"]


def test_values(service: Executor, client: httpx.Client) -> None:
    """Kept for the next request; none is an error."""
    assert do(client, "kept", key="none")["error"].startswith("load data failed")
    answer = client.post("/late")
    assert answer.text == "soon\n"
    assert service.invocation(answer.headers["x-invocation-id"])["outcome"] == "ok"
    assert do(client, "kept", key="late") == 1
