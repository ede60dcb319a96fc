"""How the body of a request comes to the worker, which the test plays by hand."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from executor.config.limits import Limits
from executor.supervisor.client import Client
from executor.supervisor.clocks import Clocks
from executor.supervisor.measurements import Measurements
from executor.supervisor.request_body import carry_body
from protocol.limits import INITIAL_CREDIT, MAX_DATA
from protocol.messages import Body, BodyEnd, Credit
from tests.executor.supervisor.played_worker import PlayedWorker, play
from tests.executor.supervisor.test_watchdog import make


class Uploader:
    """A client that sends some pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def receive(self) -> bytes | None:
        """Send the next one."""
        return self.pieces.pop(0) if self.pieces else None


async def carry(client: Uploader, worker: PlayedWorker, measured: Measurements, limit_bytes: int) -> bool:
    """Carry the client's body to the worker; whether it was short enough."""
    _, watchdog, _ = make()
    return await carry_body(
        cast("Client", client),
        worker.channel,
        clocks=Clocks(watchdog, Limits()),
        measured=measured,
        limit_bytes=limit_bytes,
    )


def test_all_of_it_comes_in_pieces_that_the_worker_has_room_for() -> None:
    """None is longer than a frame may be, and what the worker has no room for waits."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        size = 3 * INITIAL_CREDIT
        client, measured = Uploader(b"a", bytes(size)), Measurements()
        carrying = asyncio.create_task(carry(client, worker, measured, size + 1))
        received = unread = 0
        ended = False
        while not ended:
            await asyncio.sleep(0)
            for message in worker.hear():
                if isinstance(message, BodyEnd):
                    ended = True
                    continue
                assert isinstance(message, Body)
                assert len(message.data) <= MAX_DATA
                received += len(message.data)
                unread += len(message.data)
            assert unread <= INITIAL_CREDIT
            if unread:
                worker.say(Credit(amount=unread))
                unread = 0
        assert await carrying
        assert received == measured.bytes_in == size + 1

    play(test)


@pytest.mark.parametrize(("limit_bytes", "passed_on"), [(6, [b"abc", b"def"]), (5, [b"abc"])])
def test_a_body_that_is_too_long_is_not_read_on(limit_bytes: int, passed_on: list[bytes]) -> None:
    """Nor is the piece passed on with which it is; one of just that length is not too long."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        client = Uploader(b"abc", b"def")
        short = await carry(client, worker, Measurements(), limit_bytes)
        assert short == (limit_bytes == 6)
        end = [BodyEnd()] if short else []
        assert worker.hear() == [*(Body(data=data) for data in passed_on), *end]

    play(test)


def test_what_a_worker_that_has_ended_does_not_take_is_thrown_away() -> None:
    """The client is read to its end: the answer may have come before."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.end()
        client, measured = Uploader(bytes(INITIAL_CREDIT), b"abc"), Measurements()
        assert await carry(client, worker, measured, 2 * INITIAL_CREDIT)
        assert client.pieces == []
        assert measured.bytes_in == INITIAL_CREDIT + 3

    play(test)
