"""Reading what a daemon sends: whole, and no more than is allowed."""

from __future__ import annotations

import asyncio

from executor.http.asgi import Receive, Scope
from executor.serverless.errors import BadCallError
from executor.supervisor.client import ClientGoneError

__all__ = ["find_header", "read_body"]


def find_header(scope: Scope, wanted: bytes) -> bytes:
    """Return the value of a header that is there once; empty otherwise."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    found = [value for name, value in headers if name == wanted]
    return found[0] if len(found) == 1 else b""


async def read_body(receive: Receive, limit: int, idle_time_s: float) -> bytearray:
    """Read a request's body.

    Args:
        receive: ASGI.
        limit: Most bytes.
        idle_time_s: Longest wait for more of it, in seconds.

    Raises:
        BadCallError: It is larger, or does not come.
        ClientGoneError: Whoever sends it has gone.
    """
    body = bytearray()
    while True:
        try:
            async with asyncio.timeout(idle_time_s):
                message = await receive()
        except TimeoutError as error:
            raise BadCallError("the rest of the request did not come in time", 408) from error
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > limit:
            raise BadCallError(f"the request has more than {limit} bytes", 413)
        if not message.get("more_body", False):
            return body
