"""HTTP as tests speak it, without TLS: certificates are not read, which takes longer than most requests do."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any, Final

import httpx

__all__ = ["client", "get", "post", "request", "stream"]

TIME_S: Final = 120.0
"""Longest pause of a server, unless a test says otherwise: a busy machine is slow."""

NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no certificate."""


def client(**options: Any) -> httpx.Client:
    """Make a client that takes nothing from the environment.

    Args:
        options: Of `httpx.Client`.
    """
    return httpx.Client(**{"verify": NOBODY, "trust_env": False, "timeout": TIME_S, **options})


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Make one request, on a connection of its own.

    Args:
        method: Of HTTP.
        url: Where.
        options: Of `httpx.Client.request`.
    """
    with client() as one:
        return one.request(method, url, **options)


def get(url: str, **options: Any) -> httpx.Response:
    """GET, on a connection of its own."""
    return request("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """POST, on a connection of its own."""
    return request("POST", url, **options)


@contextlib.contextmanager
def stream(method: str, url: str, **options: Any) -> Iterator[httpx.Response]:
    """Make one request, on a connection of its own, whose answer is read as it comes."""
    with client() as one, one.stream(method, url, **options) as answer:
        yield answer
