"""The head of a response goes out with what follows it: one call of the kernel, one packet, one wake-up of the client.

uvicorn writes it at once. The gateway has the first piece of the body, or the end, by then (docs/decisions/0003), and
says it without waiting for anything but the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["HeadHolder"]

CONTINUE: Final = b"HTTP/1.1 100 "
"""How what may come before the head begins: an interim response (RFC 9110 section 15.2)."""


class HeadHolder(asyncio.Transport):
    """What one response is written to.

    Args:
        transport: The connection's.
        end: Closes the connection when everything has been sent.
    """

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._end = end
        self._head: bytes | None = None
        self._released = False

    def write(self, data: bytes) -> None:  # type: ignore[override] # uvicorn writes nothing else
        """Hold the head; write everything else, with the head before it if it is still here."""
        if self._released or data.startswith(CONTINUE):
            self._transport.write(data)
        elif self._head is None:
            self._head = data
        else:
            self._released = True
            self._transport.writelines((self._head, data))

    def release(self) -> None:
        """Write the head if nothing has followed it."""
        if self._head is not None and not self._released:
            self._released = True
            self._transport.write(self._head)

    def is_closing(self) -> bool:
        """Whether the connection is being closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection when everything has been sent."""
        self.release()
        self._end()
