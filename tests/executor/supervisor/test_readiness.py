"""Waiting for descriptors: functions are called while there is something to read, and nobody keeps the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import psutil
import pytest

from executor.supervisor.readiness import Readiness

Pipe = tuple[int, int]


@pytest.fixture
def pipes() -> Iterator[tuple[Pipe, Pipe]]:
    """Two pipes: (read end, write end) each."""
    first, second = os.pipe(), os.pipe()
    yield first, second
    for descriptor in (*first, *second):
        os.close(descriptor)


def play(test: Callable[[Readiness], Awaitable[None]]) -> None:
    """Run a test in an event loop; afterwards nothing is left open."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        with closing(Readiness(asyncio.get_running_loop())) as readiness:
            async with asyncio.timeout(60):
                await test(readiness)
        assert psutil.Process().num_fds() == before

    asyncio.run(run())


def test_calls_while_there_is_something_to_read(pipes: tuple[Pipe, Pipe]) -> None:
    """Again for what was left, and each function for its own descriptor."""
    (first_r, first_w), (second_r, second_w) = pipes

    async def test(readiness: Readiness) -> None:
        read: list[bytes] = []
        done = asyncio.Event()

        def take(descriptor: int) -> None:
            read.append(os.read(descriptor, 1))
            if len(read) == 4:
                done.set()

        readiness.watch(first_r, lambda: take(first_r))
        readiness.watch(second_r, lambda: take(second_r))
        os.write(first_w, b"ab")
        os.write(second_w, b"cd")
        await done.wait()
        assert sorted(read) == [b"a", b"b", b"c", b"d"]

    play(test)


def test_forgotten_in_between(pipes: tuple[Pipe, Pipe]) -> None:
    """A function may have the other forgotten, although both are due; to forget twice is nothing."""
    (first_r, first_w), (second_r, second_w) = pipes

    async def test(readiness: Readiness) -> None:
        called: list[int] = []
        first = asyncio.Event()

        def only_once(descriptor: int) -> None:
            called.append(descriptor)
            first.set()
            readiness.forget(first_r)
            readiness.forget(second_r)

        readiness.watch(first_r, lambda: only_once(first_r))
        readiness.watch(second_r, lambda: only_once(second_r))
        os.write(first_w, b"a")
        os.write(second_w, b"b")
        await first.wait()
        await asyncio.sleep(0)
        assert len(called) == 1

    play(test)


def test_a_function_that_fails(pipes: tuple[Pipe, Pipe]) -> None:
    """The loop is told, and the others have their turn."""
    (first_r, first_w), (second_r, second_w) = pipes

    async def test(readiness: Readiness) -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[object] = loop.create_future()
        done = asyncio.Event()
        loop.set_exception_handler(lambda _, context: told.set_result(context["exception"]))

        def fail() -> None:
            os.read(first_r, 1)
            raise ValueError

        def take() -> None:
            os.read(second_r, 1)
            done.set()

        readiness.watch(first_r, fail)
        readiness.watch(second_r, take)
        os.write(first_w, b"a")
        os.write(second_w, b"b")
        await done.wait()
        assert isinstance(await told, ValueError)

    play(test)


def test_nothing_is_called_after_the_end(pipes: tuple[Pipe, Pipe]) -> None:
    """What is forgotten then was forgotten already."""
    (first_r, first_w), _ = pipes

    async def test(readiness: Readiness) -> None:
        called: list[int] = []
        readiness.watch(first_r, lambda: called.append(1))
        readiness.close()
        os.write(first_w, b"a")
        await asyncio.sleep(0)
        readiness.forget(first_r)
        readiness.close()
        assert called == []

    play(test)
