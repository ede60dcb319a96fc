"""Carries the body of a request from the client to the worker, no faster than the worker takes it."""

from __future__ import annotations

from executor.supervisor.channel import Channel
from executor.supervisor.client import Client
from executor.supervisor.clocks import Clocks
from executor.supervisor.measurements import Measurements
from protocol.limits import MAX_DATA
from protocol.messages import Body, BodyEnd

__all__ = ["carry_body"]


async def carry_body(
    client: Client, channel: Channel, *, clocks: Clocks, measured: Measurements, limit_bytes: int
) -> bool:
    """Carry all of it; what a worker that has ended does not take is thrown away.

    Args:
        client: Sends it.
        channel: To the worker.
        clocks: Told when the client is waited for.
        measured: Counts what has come.
        limit_bytes: Longest body.

    Returns:
        False when it is longer than that. What is beyond was not passed on, and the rest is not read.

    Raises:
        ClientGoneError: The client has gone.
        TimeoutError: The client has sent nothing for too long.
    """
    while (data := await clocks.wait_received(client.receive())) is not None:
        measured.bytes_in += len(data)
        if measured.bytes_in > limit_bytes:
            return False
        await _send(channel, data)
    channel.send(BodyEnd())
    return True


async def _send(channel: Channel, data: bytes) -> None:
    """Send one piece as fast as the worker takes it; a worker that has ended takes nothing any more."""
    view = memoryview(data)
    while view:
        if not await channel.wait_writable():
            return
        size = min(len(view), MAX_DATA, channel.send_window)
        channel.send(Body(data=bytes(view[:size])))
        view = view[size:]
