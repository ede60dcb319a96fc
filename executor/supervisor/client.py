"""The other side of an invocation, as the supervisor sees it: who asked, and who gets the answer.

The gateway implements it over HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from executor.supervisor.verdict import Verdict

__all__ = ["NO_BODY_STATUSES", "Client", "ClientGoneError", "InvalidResponseError"]

NO_BODY_STATUSES: Final = frozenset({204, 205, 304})
"""Final statuses of responses without a body, besides those to HEAD (RFC 9110 sections 6.4.1 and 15.3.6)."""


class ClientGoneError(Exception):
    """The client has closed the connection."""


class InvalidResponseError(Exception):
    """The worker's response cannot be said in HTTP."""


class Client(Protocol):
    """The other side of an invocation: who asked, and who gets the answer."""

    async def receive(self) -> bytes | None:
        """Return the next piece of the request body, `None` after the last.

        Raises:
            ClientGoneError: The client has gone.
        """

    async def wait_gone(self) -> None:
        """Return when the client has gone."""

    async def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the head of the response.

        Raises:
            InvalidResponseError: The head is not one that HTTP allows. Nothing was sent.
        """

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body; waits while the client is slow.

        Args:
            data: The piece.
            last: Whether it ends the body: then `finish` need not be called.

        Raises:
            InvalidResponseError: The body is longer than the head said, or shorter at its end.
        """

    async def finish(self) -> None:
        """End the body.

        Raises:
            InvalidResponseError: The body is shorter than the head said.
        """

    async def fail(self, verdict: Verdict) -> None:
        """Send the answer that the verdict stands for, in place of a response."""

    def cut(self, *, at_once: bool) -> None:
        """Close the connection so that the client sees an incomplete response; `at_once` drops what is unsent."""
