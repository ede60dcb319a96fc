"""Properties of the whole: round trips, any chunking, garbage, damaged streams."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from protocol.codec import TYPES, decode_message, encode_message, pack
from protocol.connection import Connection
from protocol.errors import RemoteProtocolError
from protocol.frames import HEADER_SIZE, PREFACE, frame_header
from protocol.messages import Body, Chunk, Message
from protocol.states import Role
from tests.protocol import strategies
from tests.protocol.support import PEER, ConnectionPair, receive_all, responding_pair, split

Conversation = list[tuple[Role, Message]]
CODES = {(role, row.message): code for role, rows in TYPES.items() for code, row in rows.items()}


@st.composite
def sent_messages(draw: st.DrawFn) -> tuple[Role, Message]:
    """Any message and its sender."""
    role = draw(st.sampled_from(Role))
    row = draw(st.sampled_from(list(TYPES[role].values())))
    return role, draw(strategies.BY_CLASS[row.message])


@given(sent_messages())
def test_round_trip(sent: tuple[Role, Message]) -> None:
    """Every message is decoded to itself, and its type byte says what it is."""
    role, message = sent
    frame = encode_message(role, message)
    code = CODES[role, type(message)]
    assert frame[:HEADER_SIZE] == frame_header(code, len(frame) - HEADER_SIZE)
    decoded = decode_message(role, code, frame[HEADER_SIZE:])
    assert decoded == message
    assert repr(decoded) == repr(message)


@given(strategies.worker_streams())
def test_conversations_arrive_as_they_were_sent(conversation: Conversation) -> None:
    """Every message arrives unchanged, down to the types of its values, and both ends agree."""
    pair = ConnectionPair()
    for sender, message in conversation:
        received = pair.move(sender, message)
        assert received == message
        assert repr(received) == repr(message)


def streams(conversation: Conversation, receiver: Role) -> tuple[bytes, list[Message], list[tuple[int, Message]]]:
    """The bytes that a receiver reads, what it should get, and what it sends after how many messages."""
    pair = ConnectionPair()
    data = b""
    expected: list[Message] = []
    replies: list[tuple[int, Message]] = []
    for sender, message in conversation:
        sent = pair.ends[sender].send(message)
        pair.ends[PEER[sender]].receive_data(sent)
        pair.ends[PEER[sender]].next_message()
        if sender is receiver:
            replies.append((len(expected), message))
        else:
            data += sent
            expected.append(message)
    return data, expected, replies


@given(strategies.worker_streams(), st.sampled_from(Role), st.integers(1, 50))
def test_any_chunking_gives_the_same_messages(conversation: Conversation, receiver: Role, size: int) -> None:
    """Whole, byte by byte, or in pieces of any size."""
    data, expected, replies = streams(conversation, receiver)
    for pieces in (split(data, max(len(data), 1)), split(data, 1), split(data, size)):
        assert receive_all(Connection(receiver), pieces, replies) == (expected, None)


@given(strategies.worker_streams(), st.sampled_from(Role), st.data())
def test_damaged_streams_give_only_the_remote_error(
    conversation: Conversation, receiver: Role, data: st.DataObject
) -> None:
    """Bytes changed, removed and put in: a remote error or other messages, however they come cut."""
    stream, _expected, replies = streams(conversation, receiver)
    damaged = bytearray(stream)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        stop = data.draw(st.integers(start, min(start + 4, len(damaged))))
        damaged[start:stop] = data.draw(st.binary(max_size=4))
    whole = receive_all(Connection(receiver), split(bytes(damaged), max(len(damaged), 1)), replies)
    assert receive_all(Connection(receiver), split(bytes(damaged), 1), replies) == whole


@given(st.binary(max_size=400), st.sampled_from(Role), st.booleans())
@example(b"", Role.WORKER, False)
def test_garbage_gives_only_the_remote_error(data: bytes, receiver: Role, preface: bool) -> None:  # noqa: FBT001
    """Any bytes at all."""
    receive_all(Connection(receiver), split(PREFACE * preface + data, 7))


@given(st.sampled_from(Role), st.data())
def test_garbage_in_well_formed_frames(receiver: Role, data: st.DataObject) -> None:
    """Frames whose headers are right and whose payloads are anything."""
    code = data.draw(st.sampled_from(list(TYPES[PEER[receiver]])))
    payload = data.draw(st.binary(max_size=60) | strategies.plain.map(lambda value: encode_any([value])))
    end = Connection(receiver)
    end.receive_data(PREFACE + frame_header(code, len(payload)) + payload)
    try:
        end.next_message()
    except RemoteProtocolError:
        return


def encode_any(value: object) -> bytes:
    """The msgpack encoding of plain data."""
    return pack(value)


@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=20), st.sampled_from(Role))
def test_windows_count_every_byte(sizes: list[int], sender: Role) -> None:
    """However data is cut, the window is the initial credit less what was sent."""
    pair = responding_pair()
    end = pair.ends[sender]
    left = end.send_window
    for size in sizes:
        length = min(size, 65536, end.send_window)
        if length:
            pair.move(sender, Body(bytes(length)) if sender is Role.SUPERVISOR else Chunk(bytes(length)))
            left -= length
    assert end.send_window == pair.ends[PEER[sender]].receive_window == left
