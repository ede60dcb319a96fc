"""The supervisor's end of a worker's pipes, with a worker that the test plays by hand: well-behaved and hostile."""

from __future__ import annotations

import asyncio
import os
from fcntl import F_GETPIPE_SZ, fcntl

import pytest

from executor.supervisor.channel import INBOX_HIGH, MESSAGES_PER_WAKEUP
from executor.supervisor.worker import describe_exit
from protocol.call_messages import Call, CallResult
from protocol.codec import encode_message
from protocol.connection import Connection
from protocol.frames import PREFACE
from protocol.limits import INITIAL_CREDIT, MAX_DATA
from protocol.messages import Body, BodyEnd, Cancel, Chunk, Credit, End, Log, Message, Ready, Response
from protocol.states import Role
from tests.executor.supervisor.played_worker import INVOKE, PlayedWorker, play


def test_a_conversation() -> None:
    """Ready, invoked, answered, ended."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=((b"a", b"b"),)), Chunk(data=b"x"), End())
        received = [await worker.channel.receive() for _ in range(3)]
        assert received == [Response(status=200, headers=((b"a", b"b"),)), b"x", End()]
        worker.end()
        assert await worker.channel.receive() is None
        assert worker.channel.violation is None
        report = await worker.handle.wait_exit(1)
        assert describe_exit(report) == "exit 0"

    play(test)


def test_chunks_that_have_come_are_one_piece() -> None:
    """As many as there are; what is not a chunk is left for the next call."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()), Chunk(data=b"a"), Chunk(data=b"bc"), Chunk(data=b"d"), End())
        assert isinstance(await worker.channel.receive(), Response)
        assert not worker.channel.take_end()
        assert await worker.channel.receive() == b"abcd"
        assert worker.channel.take_end()
        assert not worker.channel.take_end()

    play(test)


def test_a_full_pipe_is_widened() -> None:
    """Once a worker has filled it; whatever comes through is the same."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        small = fcntl(worker.responses, F_GETPIPE_SZ)
        worker.say(Response(status=200, headers=()))
        pieces = [bytes([number]) * MAX_DATA for number in range(4)]
        frames = b"".join(worker.connection.send(Chunk(data=piece)) for piece in pieces)
        assert isinstance(await worker.channel.receive(), Response)
        os.set_blocking(worker.responses, True)
        writing = asyncio.create_task(asyncio.to_thread(os.write, worker.responses, frames))
        received = b""
        while len(received) < len(pieces) * MAX_DATA:
            more = await worker.channel.receive()
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
        assert isinstance(await worker.channel.receive(), Response)
        assert worker.logs == [log]
        assert worker.channel.send_window == INITIAL_CREDIT + 5
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
    ],
)
def test_bytes_that_break_the_protocol(name: str, data: bytes, told: str) -> None:
    """The violation is noted, nothing more is read, the worker is killed, the invocation is told."""

    async def test(worker: PlayedWorker) -> None:
        os.write(worker.responses, data)
        assert await worker.channel.receive() is None
        assert told in str(worker.channel.violation)
        assert worker.killed
        assert not worker.channel.was_cut

    play(test)


def test_an_end_within_a_frame() -> None:
    """It may be the worker's doing or not: the worker is not killed for it, since its own end has to tell."""

    async def test(worker: PlayedWorker) -> None:
        os.write(worker.responses, PREFACE + b"\x00\x00\x00\x09\x46\x90")
        worker.end(status=11)
        assert await worker.channel.receive() is None
        assert "ended within a frame" in str(worker.channel.violation)
        assert worker.channel.was_cut
        assert not worker.killed

    play(test)


@pytest.mark.parametrize("early", [Response(status=200, headers=()), Chunk(data=b"x"), Credit(amount=1)])
def test_answers_before_the_question_are_refused(early: Message) -> None:
    """A worker that answers without having been invoked breaks the protocol."""

    async def test(worker: PlayedWorker) -> None:
        worker.begin()
        assert isinstance(await worker.channel.receive(), Ready)
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
        assert await worker.channel.receive() is None
        assert worker.channel.violation is not None

    play(test)


async def size_of_body(worker: PlayedWorker) -> int:
    """Bytes of body that come next."""
    data = await worker.channel.receive()
    assert isinstance(data, bytes)
    return len(data)


def test_a_flood_of_tiny_chunks_is_not_collected() -> None:
    """Reading stops long before the credit is used up, and goes on when the invocation has caught up."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()))
        assert isinstance(await worker.channel.receive(), Response)
        total = sent = 0
        data = b"".join(worker.connection.send(Chunk(data=b"y")) for _ in range(20_000))
        while sent < len(data):
            try:
                sent += os.write(worker.responses, data[sent:])
            except BlockingIOError:
                await asyncio.sleep(0)
                assert len(worker.channel._inbox) <= INBOX_HIGH + MESSAGES_PER_WAKEUP
                total += await size_of_body(worker)
        while total < 20_000:
            total += await size_of_body(worker)
        assert worker.channel.violation is None

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


def test_a_flood_of_reverse_calls_is_not_answered_for_ever() -> None:
    """A worker that calls and calls without reading the answers breaks the protocol."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        calls = (Call(call_id=number, kind="app", size=1, data=b"\x80") for number in range(80_000))
        data = b"".join(encode_message(Role.WORKER, call) for call in calls)
        sent = 0
        while worker.channel.violation is None:
            try:
                sent += os.write(worker.responses, data[sent:])
            except BlockingIOError:
                await asyncio.sleep(0)
        assert "without reading" in str(worker.channel.violation)
        assert len(worker.channel._outgoing) < 3 << 20
        assert await worker.channel.receive() is None

    play(test)


def test_after_a_cancellation_nothing_is_sent_any_more() -> None:
    """Late calls and credit do not raise out of the event loop."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()))
        worker.channel.send(Cancel(reason="client.gone"))
        worker.say(Call(call_id=1, kind="app", size=1, data=b"\x80"))
        assert isinstance(await worker.channel.receive(), Response)
        worker.channel.grant(1 << 20)
        assert worker.hear() == [Cancel(reason="client.gone")]
        assert worker.channel.violation is None

    play(test)


def test_upload_waits_for_credit_and_for_the_pipe() -> None:
    """The supervisor holds at most what the worker has room for."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        sent = 0

        async def upload() -> None:
            nonlocal sent
            while await worker.channel.wait_writable() and sent < 1 << 20:
                size = min(worker.channel.send_window, MAX_DATA)
                worker.channel.send(Body(data=bytes(size)))
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
        worker.channel.send(Body(data=bytes(MAX_DATA)))
        worker.channel.send(Body(data=bytes(MAX_DATA)))
        waiting = asyncio.create_task(worker.channel.wait_writable())
        await asyncio.sleep(0)
        worker.end(status=9)
        assert await waiting is False

    play(test)


def test_nothing_is_said_to_a_worker_that_broke_the_protocol() -> None:
    """Whoever still talks to it, to cancel it for instance, must not be the one who fails."""

    async def test(worker: PlayedWorker) -> None:
        await worker.invoked()
        worker.say(Response(status=200, headers=()))
        requests = os.dup(worker.requests)  # as a child of the worker could have it
        os.write(worker.responses, b"\xff" * 9)
        assert isinstance(await worker.channel.receive(), Response)
        assert await worker.channel.receive() is None
        for message in (Body(data=b"x"), BodyEnd(), Credit(amount=1), Cancel(reason="r")):
            worker.channel.send(message)
        worker.channel.grant(1 << 20)
        with pytest.raises(BlockingIOError):
            os.read(requests, 1)
        os.close(requests)

    play(test)
