"""Requests to servers of others: certificates, proxies, connections."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from executor.config.peer import Peer
from executor.reverse.call import CallFailedError
from executor.reverse.targets.http import HttpPeer
from tests.stand_ins.certificates import make_certificate
from tests.stand_ins.server import Exchange, serving


class Echo:
    """Answers with the header fields that it got, and counts connections by the ports that they come from."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        self.headers.append(exchange.headers)
        await exchange.answer_json({"length": len(exchange.body)})


async def ask(url: str, content: bytes = b"{}", **settings: Any) -> object:
    """Send one request."""
    peer = HttpPeer("It", Peer.model_validate(settings))
    try:
        async with peer.post(url, content) as answer:
            await answer.check_status()
            return await answer.json()
    finally:
        await peer.close()


def test_certificates_are_checked_with_those_that_are_named(tmp_path: Path) -> None:
    """And with no others: neither one that vouches for itself is taken, nor one for another address."""

    async def within() -> None:
        certificate = make_certificate(tmp_path)
        async with serving(Echo(), certificate) as url:
            assert await ask(url, ca_file=str(certificate)) == {"length": 2}
            with pytest.raises(
                CallFailedError, match="its certificate was not accepted, self-signed certificate"
            ) as caught:
                await ask(url)
            assert caught.value.error_type == "InvokeConnectionError"
            assert "127.0.0.1" not in caught.value.message
        other = make_certificate(tmp_path, "127.0.0.2")
        async with serving(Echo(), other) as url:
            with pytest.raises(CallFailedError, match="its certificate was not accepted, IP address mismatch"):
                await ask(url, ca_file=str(other))

    asyncio.run(within())


def test_requests_say_who_sends_them_and_take_no_compression() -> None:
    """With an id of their own each."""
    echo = Echo()

    async def within() -> None:
        async with serving(echo) as url:
            await ask(url)
            await ask(url)

    asyncio.run(within())
    first, second = echo.headers
    assert first["user-agent"].startswith("endpoint-executor/")
    assert first["accept-encoding"] == "identity"
    assert first["x-request-id"] != second["x-request-id"]
    assert "cookie" not in first


def test_cookies_are_not_kept() -> None:
    """What a server sets for one call is not sent with the next."""
    seen: list[dict[str, str]] = []

    async def set_cookie(exchange: Exchange) -> None:
        seen.append(exchange.headers)
        await exchange.answer(200, b"{}", {"set-cookie": "session=1; Path=/"})

    async def within() -> None:
        async with serving(set_cookie) as url:
            peer = HttpPeer("It", Peer())
            for _ in range(2):
                async with peer.post(url, b"{}") as answer:
                    await answer.json()
            await peer.close()

    asyncio.run(within())
    assert ["cookie" in headers for headers in seen] == [False, False]


def test_a_connection_serves_one_request_after_another() -> None:
    """When the first answer was read to its end; otherwise it is closed."""
    clients: list[tuple[str, int]] = []

    async def remember(exchange: Exchange) -> None:
        clients.append(exchange.client)
        await exchange.answer(200, b"x" * 100_000)

    async def within() -> None:
        async with serving(remember) as url:
            peer = HttpPeer("It", Peer())
            for whole in (True, False, True):
                async with peer.post(url, b"{}") as answer:
                    if whole:
                        await answer.body()
            await peer.close()

    asyncio.run(within())
    assert clients[0] == clients[1]
    assert clients[2] not in clients[:2]


def test_a_proxy_is_used_for_everything() -> None:
    """It is asked for the whole address, of a host that only it has to know."""
    echo = Echo()

    async def within() -> None:
        async with serving(echo) as url:
            assert await ask("http://no-such-host.invalid/path", proxy=url) == {"length": 2}

    asyncio.run(within())
    assert echo.headers[0]["host"] == "no-such-host.invalid"


def test_a_server_that_takes_nothing_is_given_up() -> None:
    """After `write_time`, when what is under way fills all buffers."""

    async def within() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(CallFailedError, match="It took no more of the request for 100ms") as caught:
                await ask(url, b"x" * 64 * 1024**2, write_time="100ms")
        assert caught.value.error_type == "InvokeConnectionError"

    asyncio.run(within())


def test_a_host_that_is_not_there_is_told_without_its_name() -> None:
    """The name is the operator's business, and in the log; without what follows it."""

    async def within() -> None:
        with pytest.raises(CallFailedError, match="It could not be reached: ") as caught:
            await ask("http://no-such-host.invalid/path?sign=secret")
        assert "no-such-host" not in caught.value.message

    with capture_logs() as events:
        asyncio.run(within())
    (event,) = events
    assert (event["event"], event["log_level"]) == ("reverse.no_answer", "warning")
    assert (event["server"], event["at"]) == ("It", "http://no-such-host.invalid")
    assert "secret" not in str(event)
