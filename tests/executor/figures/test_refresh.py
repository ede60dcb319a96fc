"""`POST /refresh` of the admin listener: who may ask, and what is answered."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import httpx
import pytest

from executor.figures.admin import create_admin_app
from executor.figures.live import Snapshot
from executor.figures.registry import Registry
from executor.installed.watch import Applied
from tests.executor.figures.support import IDLE

APPLIED = Applied(7, {"cat": "its files have been changed"}, folders=("/b", "/a"))


async def refresh() -> Applied:
    """Say what is in force."""
    return APPLIED


async def end() -> Applied:
    """Be ended meanwhile."""
    raise asyncio.CancelledError


def post(
    method: str = "POST",
    headers: dict[str, str] | None = None,
    *,
    snapshot: Snapshot = IDLE,
    ask: Callable[[], Awaitable[Applied]] | None = refresh,
) -> httpx.Response:
    """Ask."""
    app = create_admin_app(Registry(), lambda: snapshot, refresh=ask)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
            return await client.request(method, "/refresh", headers=headers)

    return asyncio.run(send())


def test_what_is_in_force_is_told() -> None:
    """As JSON, once it is."""
    answer = post()
    assert answer.status_code == 200
    assert answer.json() == {
        "generation": 7,
        "failed": {"cat": "its files have been changed"},
        "problem": "",
        "folders": ["/a", "/b"],
    }


@pytest.mark.parametrize("origin", ["null", "http://127.0.0.1:8081", "https://evil.example"])
def test_web_pages_may_not_ask(origin: str) -> None:
    """A browser says where a page is from when it sends a POST; so it is no command of ours."""
    answer = post(headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "admin.origin")


def test_names_of_others_are_refused() -> None:
    """As for every address of the listener."""
    assert post(headers={"Host": "evil.example"}).status_code == 403


def test_reading_changes_nothing() -> None:
    """GET is refused with the method that is meant."""
    answer = post("GET")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_service_that_ends_says_so() -> None:
    """Whether it does already, or while it is asked; without a store there is no such address."""
    assert post(snapshot=dataclasses.replace(IDLE, draining=True)).status_code == 503
    assert post(ask=end).status_code == 503
    assert post(ask=None).status_code == 404
