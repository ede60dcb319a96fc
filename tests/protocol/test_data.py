"""Data of a body without the messages that they come in: what goes before them, and many in a row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode_message
from protocol.connection import Connection
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.frames import PREFACE, frame_header
from protocol.messages import Body, BodyEnd, Chunk, Credit, End, Log, Message, Ready
from protocol.states import Role
from tests.protocol.support import PEER, responding_pair

S, W = Role.SUPERVISOR, Role.WORKER


def bodies(role: Role, *pieces: bytes) -> tuple[Connection, Connection, bytes]:
    """Two ends that are at the body which `role` sends, and what it says for these pieces of it."""
    ends = responding_pair().ends
    make = Body if role is S else Chunk
    return ends[role], ends[PEER[role]], b"".join(ends[role].send(make(piece)) for piece in pieces)


@pytest.mark.parametrize("role", Role)
def test_data_in_a_row(role: Role) -> None:
    """As many pieces as are wanted and there whole; what comes after them is the next message; credit is taken."""
    ours, theirs, said = bodies(role, b"a", b"b" * 300, b"c" * 65_536, b"d")
    window = theirs.receive_window
    end = ours.send(BodyEnd() if role is S else End())
    assert theirs.next_data(9) == b""
    theirs.receive_data(said[:-1])
    assert theirs.next_data(2) == b"a" + b"b" * 300
    assert theirs.next_data(9) == b"c" * 65_536
    theirs.receive_data(said[-1:] + end)
    assert theirs.next_data(9) == b"d"
    assert theirs.next_data(9) == b""
    assert theirs.next_message() == (BodyEnd() if role is S else End())
    assert theirs.receive_window == window - 65_838 == ours.send_window


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("size", [1, 255, 256, 65_535, 65_536])
def test_what_goes_before_data(role: Role, size: int) -> None:
    """It makes the same frame as the message, and is paid for in the same way."""
    make = Body if role is S else Chunk
    ours, _, _ = bodies(role)
    other, _, _ = bodies(role)
    assert ours.send_data(make, size) + bytes(size) == other.send(make(bytes(size)))
    assert ours.send_window == other.send_window


@pytest.mark.parametrize(("size", "match"), [(0, "0 bytes"), (65_537, "65537 bytes"), (262_145, "credit")])
def test_data_of_a_wrong_size(size: int, match: str) -> None:
    """None, too much for a message, and more than there is credit for: refused, and nothing has changed."""
    ours, _, _ = bodies(W)
    before = ours.send_window
    with pytest.raises(LocalProtocolError, match=match):
        ours.send_data(Chunk, size)
    assert ours.send_window == before


def test_data_like_the_last() -> None:
    """What is repeated is checked like everything else: credit, state, and whether the connection lives."""
    ours, theirs, _ = bodies(W)
    for _ in range(3):
        said = ours.send_data(Chunk, 65_536) + bytes(65_536)
        theirs.receive_data(said)
        assert theirs.next_data(1) == bytes(65_536)
    assert ours.send_window == theirs.receive_window == 65_536
    ours.send_data(Chunk, 40_000)
    with pytest.raises(LocalProtocolError, match="credit"):
        ours.send_data(Chunk, 40_000)
    ours.receive_data(encode_message(S, Credit(100_000)))
    assert ours.next_message() == Credit(100_000)
    with pytest.raises(LocalProtocolError, match="illegal"):
        ours.send_data(Body, 40_000)
    ours.send_data(Chunk, 40_000)
    ours.receive_data(b"?" * 100)
    with pytest.raises(RemoteProtocolError):
        ours.next_message()
    with pytest.raises(RemoteProtocolError, match="dead"):
        ours.send_data(Chunk, 40_000)


def test_data_before_its_time() -> None:
    """Not before the head of the answer, and not after its end."""
    ours, _, _ = bodies(W)
    with pytest.raises(LocalProtocolError, match="illegal"):
        Connection(W).send_data(Chunk, 1)
    ours.send(End())
    with pytest.raises(LocalProtocolError, match="illegal"):
        ours.send_data(Chunk, 1)


BAD_CHUNKS = {
    "empty": b"\x91\xc4\x00",
    "empty-16": b"\x91\xc5\x00\x00",
    "two": b"\x92\xc4\x01a\xc0",
    "text": b"\x91\xa1a",
    "cut": b"\x91\xc4\x02a",
    "too-much": b"\x91\xc6" + (65_537).to_bytes(4, "big") + bytes(65_537),
}


@pytest.mark.parametrize("payload", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_bad_data_in_a_row(payload: bytes) -> None:
    """What came before is returned; then the connection is dead, and says why."""
    _, theirs, said = bodies(W, b"good")
    theirs.receive_data(said + frame_header(0x43, len(payload)) + payload)
    assert theirs.next_data(9) == b"good"
    with pytest.raises(RemoteProtocolError, match=r"data|payload|Chunk"):
        theirs.next_message()
    assert theirs.next_data(9) == b""


def test_unusual_data_in_a_row() -> None:
    """Longer heads than needed are msgpack, too."""
    _, theirs, said = bodies(W, b"good")
    theirs.receive_data(said + frame_header(0x43, 5) + b"\x91\xc5\x00\x01a")
    assert theirs.next_data(9) == b"gooda"


def test_more_data_in_a_row_than_credit() -> None:
    """What there was credit for is returned; then the connection is dead."""
    ours, theirs, _ = bodies(W)
    frames = [ours.send(Chunk(bytes(65_536))) for _ in range(4)]
    for frame in frames:
        theirs.receive_data(frame)
        theirs.next_data(9)
    theirs.receive_data(frames[0])
    assert theirs.next_data(9) == b""
    with pytest.raises(RemoteProtocolError, match="credit"):
        theirs.next_message()


def test_data_out_of_turn() -> None:
    """A body before the head is told by the next message."""
    theirs = Connection(S)
    theirs.receive_data(PREFACE + encode_message(W, Ready()) + encode_message(W, Chunk(b"x")))
    assert theirs.next_message() == Ready()
    assert theirs.next_data(9) == b""
    with pytest.raises(RemoteProtocolError, match="illegal"):
        theirs.next_message()


def hear(stream: bytes, cuts: list[int], most: int) -> tuple[bytes, list[Message], bool]:
    """The body, the other messages, and whether the stream was refused, when it comes cut like this.

    It is read into the same memory each time.

    Args:
        stream: What a worker says after the head of its answer.
        cuts: Sizes of the pieces, again and again.
        most: Pieces of body taken at once; 0 for messages alone.
    """
    _, theirs, _ = bodies(W)
    body, others = b"", list[Message]()
    position = turn = 0
    try:
        while position < len(stream):
            piece = stream[position : position + cuts[turn % len(cuts)]]
            memory = bytearray(piece)
            theirs.receive_data(memoryview(memory))
            position, turn = position + len(piece), turn + 1
            while True:
                data = theirs.next_data(most) if most else b""
                body += data
                if data:
                    continue
                message = theirs.next_message()
                if message is None:
                    break
                if isinstance(message, Chunk):
                    body += message.data
                else:
                    others.append(message)
            theirs.keep()
            memory[:] = b"\xff" * len(memory)
    except RemoteProtocolError:
        return body, others, True
    return body, others, False


@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=400), st.just(Credit(1)), st.just(Log(1.0, "info", "", "x")))),
    st.lists(st.integers(1, 500), min_size=1, max_size=5),
    st.integers(1, 4),
    st.none() | st.tuples(st.integers(0, 4000), st.integers(0, 255)),
)
def test_data_are_those_of_the_messages(
    said: list[bytes | Message], cuts: list[int], most: int, damage: tuple[int, int] | None
) -> None:
    """However a stream comes cut, and damaged too: the same body and messages, and the same verdict."""
    ours, _, _ = bodies(W)
    stream = bytearray(b"".join(ours.send(Chunk(one) if isinstance(one, bytes) else one) for one in said))
    if damage is not None and damage[0] < len(stream):
        stream[damage[0]] = damage[1]
    assert hear(bytes(stream), cuts, most) == hear(bytes(stream), cuts, 0)
