"""The supervisor's end of a worker's pipes, with a worker that the test plays by hand: well-behaved and hostile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from fcntl import F_GETPIPE_SZ, fcntl
from typing import cast

import psutil
import pytest

from executor.supervisor.control import Child
from executor.supervisor.output import LogRecord, OutputLog, Stream
from executor.supervisor.readiness import Readiness
from executor.supervisor.slots import Slot
from executor.supervisor.worker import INBOX_HIGH, MESSAGES_PER_WAKEUP, WorkerHandle, describe_exit
from executor.supervisor.zygote import WorkerTask
from protocol.call_messages import Call, CallResult
from protocol.codec import encode_message
from protocol.connection import Connection
from protocol.control import Exited
from protocol.frames import PREFACE
from protocol.limits import INITIAL_CREDIT, MAX_DATA
from protocol.messages import (
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Credit,
    End,
    Invoke,
    Log,
    Message,
    Ready,
    Response,
)
from protocol.states import Role


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
        assert isinstance(await self.handle.receive(), Ready)
        self.handle.send(INVOKE)
        self.hear()


INVOKE = Invoke(
    invocation_id="i",
    source="a.py",
    method="POST",
    scheme="http",
    server_name="h",
    server_port=80,
    root_path="",
    path="/",
    query=b"",
    http_version="1.1",
    headers=(),
    remote_addr=None,
    values=(),
    settings={},
    hook_id="h",
    content_length=None,
    has_body=True,
    debug=False,
)


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


def test_a_conversation() -> None:
    """Ready, invoked, answered, ended."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=((b"a", b"b"),)), Chunk(data=b"x"), End())
        received = [await worker.handle.receive() for _ in range(3)]
        assert received == [Response(status=200, headers=((b"a", b"b"),)), b"x", End()]
        worker.end()
        assert await worker.handle.receive() is None
        assert worker.handle.violation is None
        report = await worker.handle.wait_exit(1)
        assert describe_exit(report) == "exit 0"

    play(test)


def test_chunks_that_have_come_are_one_piece() -> None:
    """As many as there are; what is not a chunk is left for the next call."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()), Chunk(data=b"a"), Chunk(data=b"bc"), Chunk(data=b"d"), End())
        assert isinstance(await worker.handle.receive(), Response)
        assert await worker.handle.receive() == b"abcd"
        assert await worker.handle.receive() == End()

    play(test)


def test_a_full_pipe_is_widened() -> None:
    """Once a worker has filled it; whatever comes through is the same."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        small = fcntl(worker.responses, F_GETPIPE_SZ)
        worker.say(Response(status=200, headers=()))
        pieces = [bytes([number]) * MAX_DATA for number in range(4)]
        frames = b"".join(worker.connection.send(Chunk(data=piece)) for piece in pieces)
        assert isinstance(await worker.handle.receive(), Response)
        os.set_blocking(worker.responses, True)
        writing = asyncio.create_task(asyncio.to_thread(os.write, worker.responses, frames))
        received = b""
        while len(received) < len(pieces) * MAX_DATA:
            more = await worker.handle.receive()
            assert isinstance(more, bytes)
            received += more
        assert received == b"".join(pieces)
        assert await writing == len(frames)
        assert fcntl(worker.responses, F_GETPIPE_SZ) > small

    play(test)


def test_side_messages_do_not_wait_in_line() -> None:
    """Logs go to the sink, credit to the window, reverse calls are refused, at once."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        log = Log(time=1.0, level="info", logger="l", message="m")
        worker.say(log, Credit(amount=5), Call(call_id=7, kind="app", size=1, data=b"\x80"))
        os.write(worker.stdout, b"out")
        worker.say(Response(status=200, headers=()))
        assert isinstance(await worker.handle.receive(), Response)
        assert worker.logs == [log]
        assert worker.handle.send_window == INITIAL_CREDIT + 5
        (answer,) = worker.hear()
        assert answer == CallResult(7, "error", b"there is nobody to make reverse calls to", more=False)
        worker.end()
        await worker.handle.wait_exit(1)
        assert worker.output == [("stdout", b"out")]

    play(test)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("garbage", b"garbage, not a preface", "byte 0 of the preface"),
        ("another version", b"EEP\xff", "version"),
        ("an endless frame", PREFACE + b"\xff\xff\xff\xff\x43", "payload of 4294967295 bytes"),
        ("an unknown type", PREFACE + b"\x00\x00\x00\x01\xee\x90", "0xee"),
        ("not msgpack", PREFACE + b"\x00\x00\x00\x01\x41\xc1", "Ready: payload is not msgpack"),
        ("half a frame", PREFACE + b"\x00\x00\x00\x09\x46\x90", "ended within a frame"),
    ],
)
def test_bytes_that_break_the_protocol(name: str, data: bytes, told: str) -> None:
    """The violation is noted, nothing more is read, the worker is killed, the invocation is told."""

    async def test(worker: PlayedWorker) -> None:
        os.write(worker.responses, data)
        if name == "half a frame":
            worker.end(status=9)
        assert await worker.handle.receive() is None
        assert told in str(worker.handle.violation)
        assert worker.killed

    play(test)


@pytest.mark.parametrize("early", [Response(status=200, headers=()), Chunk(data=b"x"), Credit(amount=1)])
def test_answers_before_the_question_are_refused(early: Message) -> None:
    """A worker that answers without having been invoked breaks the protocol."""

    async def test(worker: PlayedWorker) -> None:
        worker.begin()
        assert isinstance(await worker.handle.receive(), Ready)
        peer = Connection(Role.SUPERVISOR)
        liar = Connection(Role.WORKER)
        peer.receive_data(liar.send(Ready()))
        peer.next_message()
        liar.receive_data(peer.send(INVOKE))
        liar.next_message()
        if isinstance(early, Chunk):
            liar.send(Response(status=200, headers=()))
        data = liar.send(early)
        os.write(worker.responses, data)
        assert await worker.handle.receive() is None
        assert worker.handle.violation is not None

    play(test)


async def size_of_body(worker: PlayedWorker) -> int:
    """Bytes of body that come next."""
    data = await worker.handle.receive()
    assert isinstance(data, bytes)
    return len(data)


def test_a_flood_of_tiny_chunks_is_not_collected() -> None:
    """Reading stops long before the credit is used up, and goes on when the invocation has caught up."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()))
        assert isinstance(await worker.handle.receive(), Response)
        total = sent = 0
        data = b"".join(worker.connection.send(Chunk(data=b"y")) for _ in range(20_000))
        while sent < len(data):
            try:
                sent += os.write(worker.responses, data[sent:])
            except BlockingIOError:
                await asyncio.sleep(0)
                assert len(worker.handle._inbox) <= INBOX_HIGH + MESSAGES_PER_WAKEUP
                total += await size_of_body(worker)
        while total < 20_000:
            total += await size_of_body(worker)
        assert worker.handle.violation is None

    play(test)


def test_a_chattering_worker_does_not_hold_the_loop() -> None:
    """Between two messages of the loop's own only a bounded number of the worker's are taken."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        data = b"".join(
            worker.connection.send(Log(time=1.0, level="info", logger="l", message="m")) for _ in range(3000)
        )
        os.write(worker.responses, data[:65536])
        steps = []
        for _ in range(40):
            before = len(worker.logs)
            await asyncio.sleep(0)
            steps.append(len(worker.logs) - before)
        assert max(steps) <= 64
        assert sum(steps) > 200

    play(test)


def test_what_was_said_before_another_sink_goes_to_the_first() -> None:
    """Messages and output, although nobody has read them yet; what is only half said is known of."""
    records: list[LogRecord] = []

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        other = OutputLog(limit_bytes=1000, line_bytes=100, emit=records.append, flooded=lambda: None)
        log = encode_message(Role.WORKER, Log(time=1.0, level="info", logger="l", message="m"))
        os.write(worker.responses, log * 200 + log[:-1])
        os.write(worker.stdout, b"before")
        worker.handle.use_sink(other)
        os.write(worker.responses, log[-1:])
        os.write(worker.stdout, b"after\n")
        assert (len(worker.logs), worker.output) == (200, [("stdout", b"before")])
        assert worker.handle.mid_message
        worker.handle.read_all()
        assert [record.message for record in records] == ["m", "after"]
        assert not worker.handle.mid_message

    play(test)


def test_a_flood_of_reverse_calls_is_not_answered_for_ever() -> None:
    """A worker that calls and calls without reading the answers breaks the protocol."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        calls = (Call(call_id=number, kind="app", size=1, data=b"\x80") for number in range(80_000))
        data = b"".join(encode_message(Role.WORKER, call) for call in calls)
        sent = 0
        while worker.handle.violation is None:
            try:
                sent += os.write(worker.responses, data[sent:])
            except BlockingIOError:
                await asyncio.sleep(0)
        assert "without reading" in str(worker.handle.violation)
        assert len(worker.handle._outgoing) < 3 << 20
        assert await worker.handle.receive() is None

    play(test)


def test_after_a_cancellation_nothing_is_sent_any_more() -> None:
    """Late calls and credit do not raise out of the event loop."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()))
        worker.handle.send(Cancel(reason="client.gone"))
        worker.say(Call(call_id=1, kind="app", size=1, data=b"\x80"))
        assert isinstance(await worker.handle.receive(), Response)
        worker.handle.grant(1 << 20)
        assert worker.hear() == [Cancel(reason="client.gone")]
        assert worker.handle.violation is None

    play(test)


def test_upload_waits_for_credit_and_for_the_pipe() -> None:
    """The supervisor holds at most what the worker has room for."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        sent = 0

        async def upload() -> None:
            nonlocal sent
            while await worker.handle.wait_writable() and sent < 1 << 20:
                size = min(worker.handle.send_window, MAX_DATA)
                worker.handle.send(Body(data=bytes(size)))
                sent += size

        task = asyncio.create_task(upload())
        for _ in range(20):
            await asyncio.sleep(0)
        assert sent <= INITIAL_CREDIT
        received = 0
        while not task.done():
            for message in worker.hear():
                assert isinstance(message, Body)
                received += len(message.data)
                worker.say(Credit(amount=len(message.data)))
            await asyncio.sleep(0)
        assert received <= sent
        assert sent >= 1 << 20

    play(test)


def test_a_worker_that_will_not_read_any_more_does_not_hang_the_upload() -> None:
    """Its end wakes whoever waits for room."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.handle.send(Body(data=bytes(MAX_DATA)))
        worker.handle.send(Body(data=bytes(MAX_DATA)))
        waiting = asyncio.create_task(worker.handle.wait_writable())
        await asyncio.sleep(0)
        worker.end(status=9)
        assert await waiting is False

    play(test)


def test_the_last_output_is_read_after_the_end() -> None:
    """Drain, then reap."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        os.write(worker.stderr, b"last words")
        worker.end(status=11)
        report = await worker.handle.wait_exit(5)
        assert worker.output == [("stderr", b"last words")]
        assert describe_exit(report) == "signal 11 (SIGSEGV)"

    play(test)


def test_a_worker_that_does_not_end_is_killed() -> None:
    """After the grace time, and only then."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        assert not worker.killed
        report = await worker.handle.wait_exit(0.01)
        assert worker.killed
        assert describe_exit(report) == "signal 9 (SIGKILL)"
        assert describe_exit(None) == "lost with its slot"

    play(test)


def test_nothing_is_said_to_a_worker_that_broke_the_protocol() -> None:
    """Whoever still talks to it, to cancel it for instance, must not be the one who fails."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()))
        requests = os.dup(worker.requests)  # as a child of the worker could have it
        os.write(worker.responses, b"\xff" * 9)
        assert isinstance(await worker.handle.receive(), Response)
        assert await worker.handle.receive() is None
        for message in (Body(data=b"x"), BodyEnd(), Credit(amount=1), Cancel(reason="r")):
            worker.handle.send(message)
        worker.handle.grant(1 << 20)
        with pytest.raises(BlockingIOError):
            os.read(requests, 1)
        os.close(requests)

    play(test)


def test_an_end_that_is_never_reported_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that does not answer is killed; what hangs in the kernel must not hold an invocation for ever."""
    monkeypatch.setattr("executor.supervisor.worker.KILL_TIME_S", 0.01)
    monkeypatch.setattr("executor.supervisor.worker.SLOT_KILL_TIME_S", 0.01)

    async def test(worker: PlayedWorker) -> None:
        monkeypatch.setattr(worker, "kill_worker", lambda _child: None)
        monkeypatch.setattr(worker, "end", worker.end_slot)
        assert await worker.handle.wait_exit(0) is None
        assert worker.slot_killed
        assert worker.slot_ended
        assert worker.child.failure == "killed, its end was not reported"
        monkeypatch.undo()

    play(test)
