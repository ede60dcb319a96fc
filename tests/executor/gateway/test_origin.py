"""Whose word counts for a request's public address."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from executor.gateway.origin import Origin, find_origin

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def scope(peer: str | None, *headers: tuple[str, str]) -> dict[str, Any]:
    """A request from `peer`."""
    return {
        "scheme": "http",
        "client": (peer, 1234) if peer else None,
        "server": ("127.0.0.1", 8080),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


FORWARDED = (
    ("host", "inner:8080"),
    ("x-forwarded-proto", "https, http"),
    ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.7"),
    ("x-original-host", "public.example"),
    ("dify-hook-url", "https://public.example/e/x/"),
)


def test_a_stranger_is_not_believed() -> None:
    """Only the connection's own facts count."""
    assert find_origin(scope("198.51.100.1", *FORWARDED), TRUSTED) == Origin(
        "http", "inner:8080", "inner", 8080, "198.51.100.1", ""
    )


@pytest.mark.parametrize("peer", ["10.0.0.7", "::1"])
def test_a_trusted_proxy_is(peer: str) -> None:
    """And the client is the last address that is not a proxy."""
    assert find_origin(scope(peer, *FORWARDED), TRUSTED) == Origin(
        "https", "public.example", "public.example", 443, "203.0.113.9", "https://public.example/e/x/"
    )


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [("", "10.0.0.7"), ("garbage", "10.0.0.7"), ("10.0.0.8", "10.0.0.7"), ("2001:db8::5, 10.0.0.8", "2001:db8::5")],
)
def test_the_client_behind_proxies(forwarded: str, client: str) -> None:
    """Nonsense falls back to the connection."""
    found = find_origin(scope("10.0.0.7", ("host", "h"), ("x-forwarded-for", forwarded)), TRUSTED)
    assert found.remote_addr == client


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("example.org", "example.org", 80),
        ("example.org:81", "example.org", 81),
        ("[::1]:81", "[::1]", 81),
        ("[::1]", "[::1]", 80),
        ("::1", "::1", 80),
        ("x:99999", "x", 65535),
        ("x:y", "x:y", 80),
        ("", "127.0.0.1", 8080),
    ],
)
def test_hosts(host: str, name: str, port: int) -> None:
    """With and without ports; without a Host, our own address."""
    found = find_origin(scope("1.2.3.4", *([("host", host)] if host else [])), ())
    assert (found.server_name, found.server_port) == (name, port)


def test_a_connection_without_an_address() -> None:
    """A Unix socket has no peer."""
    assert find_origin(scope(None, ("host", "h")), TRUSTED).remote_addr is None
