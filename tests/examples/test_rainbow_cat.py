"""The example, served as `make serve` serves it, and used as its README says."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import Executor

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="module")
def cat() -> Iterator[httpx.Client]:
    """A client whose base is the example's hook."""
    with (
        Executor("--config", EXAMPLES / "executor.yaml") as executor,
        plain_http.client(base_url=f"{executor.url}/e/rainbow_cat") as client,
    ):
        yield client


def test_duck(cat: httpx.Client) -> None:
    """Exactly the tutorial's answer."""
    answer = cat.get("/duck/my-app")
    assert answer.text == "my-app <br>"
    assert answer.headers["content-type"].startswith("text/html")


def test_neko_in_a_terminal(cat: httpx.Client) -> None:
    """Frames in colour, each over the one before."""
    text = cat.get("/neko", params={"frames": 2}, headers={"User-Agent": "curl/8"}).text
    assert text.count("Nyako, frame ") == 2
    assert text.count("\x1b[12A") == 1
    assert "\x1b[38;2;255;65;80" in text


def test_neko_in_a_browser(cat: httpx.Client) -> None:
    """A page that grows by a frame at a time."""
    with cat.stream("GET", "/neko", params={"frames": 3}, headers={"Accept": "text/html"}) as answer:
        pieces = list(answer.iter_text())
    page = "".join(pieces)
    assert len(pieces) >= 4, "every frame came as a piece of its own"
    assert page.count("<pre>") == 3
    assert page.endswith("</body></html>\n")


def sign(body: bytes) -> dict[str, str]:
    """The header that the webhook wants."""
    return {"X-Signature": "sha256=" + hmac.new(b"not-a-secret", body, hashlib.sha256).hexdigest()}


def test_webhook(cat: httpx.Client) -> None:
    """Signed JSON is received; anything else is refused."""
    body = json.dumps({"b": 1, "a": "é"}).encode()
    answer = cat.post("/webhook", content=body, headers=sign(body))
    assert (answer.status_code, answer.json()) == (200, {"received": {"b": 1, "a": "é"}, "fields": ["a", "b"]})
    assert cat.post("/webhook", content=body + b" ", headers=sign(body)).status_code == 401
    assert cat.post("/webhook", content=body).status_code == 401
    assert cat.post("/webhook", content=b"{", headers=sign(b"{")).status_code == 400


def test_upload(cat: httpx.Client) -> None:
    """Every file on a line of its own."""
    files = [("a", ("one.txt", b"1" * 100_000)), ("b", ("two.txt", b""))]
    lines = [json.loads(line) for line in cat.post("/upload", files=files).text.splitlines()]
    assert lines == [
        {"name": "one.txt", "size": 100_000, "sha256": hashlib.sha256(b"1" * 100_000).hexdigest()},
        {"name": "two.txt", "size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
    ]
    answer = cat.post("/upload")
    assert answer.status_code == 400
    assert "curl -F" in answer.text


def test_events(cat: httpx.Client) -> None:
    """As an event source reads them."""
    answer = cat.get("/events", params={"count": 3, "interval": 0})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.splitlines() for event in answer.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["id: 1", "id: 2", "id: 3"]
    assert json.loads(events[0][2].removeprefix("data: ")) == {"meow": 1, "of": 3, "cat": "Nyako"}
