"""A worker that the test plays by hand, at the far ends of the pipes that the supervisor holds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast

import psutil

from executor.supervisor.control import Child
from executor.supervisor.output import Stream
from executor.supervisor.readiness import Readiness
from executor.supervisor.slots import Slot
from executor.supervisor.worker import WorkerHandle
from executor.supervisor.zygote import WorkerTask
from protocol.connection import Connection
from protocol.control import Exited
from protocol.messages import Log, Message, Ready
from protocol.states import Role
from tests.protocol import support


class PlayedWorker:
    """The worker's ends of the pipes, and the slot that would have forked it, with its own client."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.child = Child(1, loop)
        self.readiness = Readiness(loop)
        self.client = self
        self.killed = self.slot_killed = self.slot_ended = False
        self.connection = Connection(Role.WORKER)
        self.output: list[tuple[Stream, bytes]] = []
        self.logs: list[Log] = []
        self.handle = WorkerHandle(cast("Slot", self), WorkerTask((), {}), self, self.readiness)
        self.channel = self.handle.channel

    def fork_worker(self, _task: WorkerTask, descriptors: Sequence[int]) -> Child:
        """Take the descriptors as a slot does."""
        self.requests, self.responses, self.stdout, self.stderr = descriptors
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
        return self.child

    def kill_worker(self, _child: Child) -> None:
        """End, as a killed process does."""
        self.killed = True
        self.end(status=9)

    def kill(self) -> None:
        """Be killed, as a slot that does not answer."""
        self.slot_killed = True

    async def end_slot(self) -> None:
        """Be ended, as a slot that does not even die."""
        self.slot_ended = True

    def add_message(self, message: Log) -> None:
        """Take a log message."""
        self.logs.append(message)

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take output."""
        self.output.append((stream, data))

    def say(self, *messages: Message) -> None:
        """Send messages by the rules."""
        os.write(self.responses, b"".join(self.connection.send(message) for message in messages))

    def hear(self) -> list[Message]:
        """Receive what has come."""
        try:
            while data := os.read(self.requests, 1 << 20):
                self.connection.receive_data(data)
        except BlockingIOError:
            pass
        heard = []
        while (message := self.connection.next_message()) is not None:
            heard.append(message)
        return heard

    def end(self, status: int = 0) -> None:
        """Close everything, as the end of a process does, and report it."""
        for name in ("requests", "responses", "stdout", "stderr"):
            descriptor = getattr(self, name)
            if descriptor is not None:
                os.close(descriptor)
                setattr(self, name, None)
        if not self.child.exited.done():
            self.child.exited.set_result(
                Exited(
                    id=1,
                    status=status,
                    utime_s=0.0,
                    stime_s=0.0,
                    max_rss_bytes=0,
                    minor_faults=0,
                    major_faults=0,
                    killed_descendants=0,
                )
            )

    def begin(self) -> None:
        """Get ready."""
        self.say(Ready())

    async def invoked(self) -> None:
        """Get to the state in which an endpoint runs."""
        self.begin()
        assert isinstance(await self.channel.receive(), Ready)
        self.channel.send(INVOKE)
        self.hear()


INVOKE = replace(support.INVOKE, keep=False)


def play(test: Callable[[PlayedWorker], Awaitable[None]]) -> None:
    """Run a test against a fresh worker, and look for what it leaves."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        worker = PlayedWorker(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(240):
                await test(worker)
        finally:
            worker.handle.close()
            worker.end()
            worker.readiness.close()
        assert psutil.Process().num_fds() == before

    asyncio.run(run())
