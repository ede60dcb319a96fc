"""`executor.gateway.held_head`: a head waits for what follows it, and is lost in no case."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from executor.gateway.held_head import HeadHolder

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorded(asyncio.Transport):
    """A transport that notes each call which the kernel would see."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note one write."""
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Note one write of several pieces."""
        self.calls.append(b"".join(list_of_data))

    def close(self) -> None:
        """Note the end."""
        self.calls.append(b"(closed)")


def test_the_head_goes_with_the_first_piece() -> None:
    """Both are one call; later pieces go as they come."""
    transport = Recorded()
    holder = HeadHolder(transport, transport.close)
    holder.write(HEAD)
    assert transport.calls == []
    holder.write(b"one")
    holder.write(b"two")
    assert transport.calls == [HEAD + b"one", b"two"]


def test_a_head_alone_is_written_when_it_is_released() -> None:
    """Nothing follows the head of the answer to a HEAD; releasing it again changes nothing."""
    transport = Recorded()
    holder = HeadHolder(transport, transport.close)
    holder.release()
    holder.write(HEAD)
    holder.release()
    holder.release()
    assert transport.calls == [HEAD]
    holder.write(b"more")
    assert transport.calls == [HEAD, b"more"]


def test_an_end_does_not_lose_the_head() -> None:
    """A connection that is closed after the response sends all of it first."""
    transport = Recorded()
    holder = HeadHolder(transport, transport.close)
    holder.write(HEAD)
    holder.close()
    assert transport.calls == [HEAD, b"(closed)"]


def test_an_interim_response_is_not_held() -> None:
    """Who is told to go on sending waits for exactly that."""
    transport = Recorded()
    holder = HeadHolder(transport, transport.close)
    holder.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert transport.calls == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    holder.write(HEAD)
    holder.write(b"one")
    assert transport.calls[1:] == [HEAD + b"one"]
