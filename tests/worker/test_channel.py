"""The channel over real pipes: waiting, credit, torn writes, cancellation, and processes that are not the worker."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat

import pytest

from protocol import (
    INITIAL_CREDIT,
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Connection,
    Credit,
    End,
    LocalProtocolError,
    Log,
    Message,
    Ready,
    Response,
    Role,
)
from tests.worker.driver import make_invoke
from worker.channel import Cancelled, Channel, NotTheWorkerError


class Peer:
    """A supervisor in the same process."""

    def __init__(self) -> None:
        requests_r, self.write_fd = os.pipe()
        self.read_fd, responses_w = os.pipe()
        self.theirs = [requests_r, responses_w]
        self.channel = Channel()
        self.channel.open(requests_r, responses_w)
        self.connection = Connection(Role.SUPERVISOR)
        self.messages: list[Message] = []

    def send(self, *messages: Message) -> None:
        """Send messages in one write."""
        os.write(self.write_fd, b"".join(map(self.connection.send, messages)))

    def read(self) -> list[Message]:
        """Read once, and return the messages that are complete."""
        self.connection.receive_data(os.read(self.read_fd, 1 << 20))
        return list(iter(self.connection.next_message, None))

    def ready(self) -> None:
        """Go through READY."""
        self.channel.send(Ready())
        assert self.read() == [Ready()]

    def invoke(self, *, body: bool = False) -> None:
        """Go through READY and INVOKE."""
        self.ready()
        self.send(make_invoke(has_body=body))
        assert self.channel.receive() == make_invoke(has_body=body)

    def close(self) -> None:
        """Close all that is open."""
        for descriptor in (self.read_fd, self.write_fd, *self.theirs):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A supervisor in the same process, and its channel."""
    peer = Peer()
    yield peer
    peer.close()


def in_thread(function: Callable[[], object]) -> Callable[[], object]:
    """Run a function in a thread; the result waits for it and returns what it returned or the exception."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed over
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> object:
        thread.join(20)
        return results[0]

    return wait


def test_messages_byte_by_byte(peer: Peer) -> None:
    """Messages that come in single bytes are put together."""
    peer.ready()
    result = in_thread(peer.channel.receive)
    for byte in peer.connection.send(make_invoke()):
        os.write(peer.write_fd, bytes([byte]))

    assert result() == make_invoke()


def test_what_follows_at_once_goes_together(peer: Peer) -> None:
    """Until the last of it, or until it is more than a pipe takes."""
    peer.invoke()
    peer.channel.send(Response(status=200, headers=()), more=True)
    peer.channel.send_chunk(b"abc", more=True)
    assert not select.select([peer.read_fd], [], [], 0)[0]
    peer.channel.send(End())
    assert peer.read() == [Response(status=200, headers=()), Chunk(data=b"abc"), End()]


def test_what_follows_waits_for_nobody(peer: Peer) -> None:
    """A body beyond the pipe and beyond the credit is sent although more is to follow."""
    peer.invoke()
    pieces = [bytes([number]) * 50_000 for number in range(12)]

    def send() -> None:
        peer.channel.send(Response(status=200, headers=()), more=True)
        for piece in pieces:
            peer.channel.send_chunk(piece, more=True)
        peer.channel.send(End())

    result = in_thread(send)
    received = b""
    ended = False
    while not ended:
        for message in peer.read():
            if isinstance(message, Chunk):
                received += message.data
                peer.send(Credit(amount=len(message.data)))
            ended = ended or isinstance(message, End)
    assert result() is None
    assert received == b"".join(pieces)


def test_body(peer: Peer) -> None:
    """The body is read in pieces of any size, up to its end, again and again."""
    peer.invoke(body=True)
    peer.send(Body(data=b"abcdef"), Body(data=b"gh"), BodyEnd())

    assert [peer.channel.read_body(4) for _ in range(5)] == [b"abcd", b"ef", b"gh", b"", b""]


def test_body_waits(peer: Peer) -> None:
    """A reader waits for bytes that have not come."""
    peer.invoke(body=True)
    result = in_thread(lambda: peer.channel.read_body(10))
    peer.send(Body(data=b"late"))

    assert result() == b"late"


def test_credit_goes_back(peer: Peer) -> None:
    """What is read is credited in steps, so that the peer can go on for ever."""
    peer.invoke(body=True)
    result = in_thread(lambda: sum(len(peer.channel.read_body(1000)) for _ in range(1500)))
    for _ in range(1500):
        while peer.connection.send_window < 1000:
            assert all(isinstance(message, Credit) for message in peer.read())
        peer.send(Body(data=b"x" * 1000))

    assert result() == 1_500_000
    assert peer.connection.send_window <= INITIAL_CREDIT


def test_chunks_wait_for_credit(peer: Peer) -> None:
    """A sender waits without credit, and uses a small one for a small piece."""
    peer.invoke()
    peer.channel.send(Response(status=200, headers=()))
    result = in_thread(lambda: list(map(peer.channel.send_chunk, [b"x" * 65536] * 5)))
    sent = 0
    while sent < INITIAL_CREDIT:
        sent += sum(len(message.data) for message in peer.read() if isinstance(message, Chunk))
    peer.send(Credit(amount=5))
    assert [Chunk(data=b"xxxxx")] == peer.read()
    peer.send(Credit(amount=1 << 20))
    while sent < 5 * 65536 - 5:
        sent += sum(len(message.data) for message in peer.read() if isinstance(message, Chunk))

    assert result() == [None] * 5


def test_full_pipe_does_not_tear_frames(peer: Peer) -> None:
    """Messages larger than the pipe arrive whole, from several threads."""
    peer.invoke()
    text = "x" * 16_000

    def log(name: str) -> list[bool]:
        return [peer.channel.send_log(Log(0.0, "info", name, text)) for _ in range(20)]

    waits = [in_thread(partial(log, str(n))) for n in range(4)]
    logs: list[Message] = []
    while len(logs) < 80:
        logs += peer.read()

    assert [wait() for wait in waits] == [[True] * 20] * 4
    assert {Log(0.0, "info", str(n), text) for n in range(4)} == set(logs)


def test_reader_and_writer_do_not_block_each_other(peer: Peer) -> None:
    """While one thread waits for the body, another can log and answer, and the body still arrives."""
    peer.invoke(body=True)
    result = in_thread(lambda: peer.channel.read_body(10))
    assert peer.channel.send_log(Log(0.0, "info", "x", "one"))
    peer.channel.send(Response(status=200, headers=()))
    peer.channel.send_chunk(b"two")
    assert [Log(0.0, "info", "x", "one"), Response(200, ()), Chunk(b"two")] == peer.read()
    peer.send(Body(data=b"three"))

    assert result() == b"three"


def test_many_readers(peer: Peer) -> None:
    """Several threads that wait for the body get each byte once."""
    peer.invoke(body=True)
    waits = [in_thread(lambda: peer.channel.read_body(1)) for _ in range(8)]
    peer.send(Body(data=b"abcd"), Body(data=b"efgh"), BodyEnd())

    assert b"".join(sorted(str(wait())[2].encode() for wait in waits)) == b"abcdefgh"


@pytest.mark.parametrize("waiting", ["body", "credit", "pipe", "head"])
@pytest.mark.parametrize("how", ["cancel", "eof", "garbage"])
def test_cancel_ends_every_wait(peer: Peer, waiting: str, how: str) -> None:
    """CANCEL, the end of the pipe and garbage are noticed wherever a thread waits."""
    if waiting == "head":
        peer.ready()
    else:
        peer.invoke(body=True)
        peer.channel.send(Response(status=200, headers=()))

    waits: dict[str, Callable[[], object]] = {
        "body": lambda: peer.channel.read_body(1),
        "credit": lambda: list(map(peer.channel.send_chunk, repeat(b"x" * 65536))),
        "pipe": lambda: list(map(peer.channel.send_chunk, repeat(b"x"))),
        "head": peer.channel.receive,
    }
    result = in_thread(waits[waiting])
    if waiting == "credit":
        while peer.connection.receive_window:
            peer.read()
    if how == "cancel":
        peer.send(Cancel(reason="enough"))
    elif how == "garbage":
        os.write(peer.write_fd, b"\xff" * 100)
    else:
        os.close(peer.write_fd)
        peer.write_fd = -1

    end = result()

    assert end is None if waiting == "head" else isinstance(end, Cancelled)
    expected = {"cancel": "enough", "eof": "gone", "garbage": "broke the protocol"}[how]
    assert expected in str(peer.channel.cancel_reason)
    assert (how == "garbage") == (peer.channel.violation is not None)


def test_after_cancel_nothing_waits(peer: Peer) -> None:
    """Once cancelled, every touch raises at once, logging does not, and what does not fit is dropped."""
    peer.invoke(body=True)
    peer.channel.send(Response(status=200, headers=()))
    peer.send(Cancel(reason="enough"))
    with pytest.raises(Cancelled, match="enough"):
        peer.channel.send_chunk(b"x")
    with pytest.raises(Cancelled):
        peer.channel.read_body(1)
    assert peer.channel.receive() is None

    for _ in range(100):
        assert peer.channel.send_log(Log(0.0, "info", "x", "y" * 16_000))


def test_supervisor_gone_while_writing(peer: Peer) -> None:
    """A broken pipe is a cancellation."""
    peer.invoke()
    os.close(peer.read_fd)
    peer.read_fd = -1
    peer.channel.send(Response(status=200, headers=()))

    assert peer.channel.cancel_reason == "the supervisor has gone"


def test_end_of_answer_ends_body(peer: Peer) -> None:
    """After END what has come can be read, and what has not is not waited for."""
    peer.invoke(body=True)
    peer.send(Body(data=b"abc"))
    peer.channel.send(Response(status=200, headers=()))
    peer.channel.send(End())

    assert peer.channel.read_body(10) == b"abc"
    with pytest.raises(RuntimeError, match="the answer has ended"):
        peer.channel.read_body(10)
    assert peer.channel.send_log(Log(0.0, "info", "x", "y"))


def test_illegal_message_is_ours(peer: Peer) -> None:
    """A message out of turn is refused, and nothing of it is sent."""
    peer.invoke()
    with pytest.raises(LocalProtocolError):
        peer.channel.send(End())
    peer.channel.send(Response(status=200, headers=()))

    assert [Response(200, ())] == peer.read()


def test_log_within_a_signal_handler(peer: Peer) -> None:
    """A thread that is interrupted while it waits in the channel can log."""
    import signal

    peer.invoke(body=True)
    before = signal.signal(signal.SIGUSR1, lambda *_: peer.channel.send_log(Log(0.0, "info", "handler", "interrupted")))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)

        def answer() -> None:
            peer.read()
            peer.send(Body(data=b"x"))

        result = in_thread(answer)
        assert peer.channel.read_body(1) == b"x"
        result()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_other_process(peer: Peer) -> None:
    """A forked process cannot use the channel, and lets go of its descriptors when told."""
    peer.invoke(body=True)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert not peer.channel.ours
            assert not peer.channel.send_log(Log(0.0, "info", "x", "y"))
            for use in (peer.channel.receive, lambda: peer.channel.read_body(1), lambda: peer.channel.send_chunk(b"x")):
                with pytest.raises(NotTheWorkerError):
                    use()
            peer.channel.abandon()
            peer.channel.abandon()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(peer.theirs[0])
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    peer.channel.send_log(Log(0.0, "info", "x", "parent"))
    assert [Log(0.0, "info", "x", "parent")] == peer.read()
