"""A request that lasts as long as a test wants it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.harness import Executor
from tests.e2e.raw_connection import RawConnection

__all__ = ["Duplex", "begun"]


class Duplex:
    """A request whose answer has begun, and that says a line for each that it is told.

    Args:
        connection: Where it was sent; nothing of its answer has been read.
    """

    def __init__(self, connection: RawConnection) -> None:
        self._connection = connection
        head = connection.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        connection.read_until(b"ready\n")

    def finish(self) -> None:
        """Say one line more, and read the answer, which is whole, to its end."""
        self._connection.send(b"4\r\nend\n\r\n0\r\n\r\n")
        self._connection.read_until(b"got end\n")
        self._connection.read_until(b"0\r\n\r\n")


@contextmanager
def begun(executor: Executor, hook: str = "lab") -> Iterator[Duplex]:
    """Begin a request; if it has not finished by then, its client leaves.

    Args:
        executor: The service; it serves the lab.
        hook: Which of its hooks is asked.
    """
    with executor.raw() as connection:
        head = f"POST /e/{hook}/duplex HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.send(head.encode())
        yield Duplex(connection)
