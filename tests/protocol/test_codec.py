"""Codec: the bytes of each message by hand, and every way in which a payload can be wrong."""

from __future__ import annotations

import msgpack
import pytest

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.codec import FRAME_LIMITS, TYPES, decode_message, decode_payload, encode_message, pack
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_DATA, MAX_FRAME
from protocol.messages import (
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Log,
    Message,
    Ready,
    Response,
)
from protocol.states import Role
from tests.protocol.support import EXAMPLES, INVOKE, changed

S, W = Role.SUPERVISOR, Role.WORKER


@pytest.mark.parametrize(
    ("sender", "message", "frame"),
    [
        (S, Body(b"hi"), "00000005 02 91 c4 02 6869"),
        (S, BodyEnd(), "00000001 03 90"),
        (S, Credit(65536), "00000006 04 91 ce 00010000"),
        (S, CallResult(7, "end", b"", more=False), "00000009 05 94 07 a3656e64 c400 c2"),
        (S, CallResult(7, "response", b"hi", more=True), "00000010 05 94 07 a8726573706f6e7365 c4026869 c3"),
        (S, CallCredit(7, 1), "00000003 07 92 07 01"),
        (S, Cancel("x"), "00000003 06 91 a1 78"),
        (W, Ready(), "00000001 41 90"),
        (W, Response(200, ((b"A", b"b"),)), "0000000b 42 92 ccc8 91 92 c40141 c40162"),
        (W, Chunk(b"hi"), "00000005 43 91 c4 02 6869"),
        (W, End(), "00000001 44 90"),
        (W, Error("load", "", ""), "00000008 45 93 a46c6f6164 a0 a0"),
        (W, Log(1.5, "info", "", "x"), "00000012 46 94 cb3ff8000000000000 a4696e666f a0 a178"),
        (W, Credit(1), "00000002 48 91 01"),
        (W, Call(7, "llm", 4, b"hi"), "0000000b 47 94 07 a36c6c6d 04 c4026869"),
        (W, CallData(7, b"hi"), "00000006 49 92 07 c4026869"),
        (W, CallCredit(7, 1), "00000003 4a 92 07 01"),
        (W, CallCancel(7), "00000002 4b 91 07"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | Role) else "",
)
def test_the_bytes_of_a_message(sender: Role, message: Message, frame: str) -> None:
    """Frames written by hand from the specification."""
    expected = bytes.fromhex(frame)
    assert encode_message(sender, message) == expected
    assert decode_message(sender, expected[4], expected[5:]) == message


@pytest.mark.parametrize("size", [1, 255, 256, 65535, 65536])
def test_data_frames_are_what_msgpack_makes_of_them(size: int) -> None:
    """The frames made by hand are the shortest encoding at every size."""
    data = b"\xc1" * size
    for sender, message, code in ((S, Body(data), 2), (W, Chunk(data), 0x43)):
        frame = encode_message(sender, message)
        assert frame[5:] == msgpack.packb([data])
        assert frame[:5] == (len(frame) - 5).to_bytes(4, "big") + bytes([code])
        assert decode_message(sender, code, frame[5:]) == message


def test_longer_forms_of_the_format_are_understood() -> None:
    """A peer need not choose the shortest form."""
    assert decode_message(S, 2, b"\xdc\0\1\xc6\0\0\0\1x") == Body(b"x")
    assert decode_message(W, 0x48, b"\xdd\0\0\0\1\xd3" + (7).to_bytes(8, "big")) == Credit(7)
    assert decode_message(W, 0x46, b"\x94\xca\x3f\xc0\0\0\xd9\4info\xda\0\0\xdb\0\0\0\1x") == Log(1.5, "info", "", "x")


def test_every_type_has_one_byte() -> None:
    """Each sender has its own range of bytes, and each message class one byte of it."""
    assert [*TYPES[S]] == [*range(0x01, 0x08)]
    assert [*TYPES[W]] == [*range(0x41, 0x4C)]
    for role, rows in TYPES.items():
        assert [row.message for row in rows.values()] == [type(message) for message in EXAMPLES[role]]
        assert FRAME_LIMITS[role] == {code: row.limit_bytes for code, row in rows.items()}


GOOD = msgpack.packb([1.5, "info", "", ""])
RESPONSE = [200, [[b"A", b"b"]]]


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (0x46, b""),
        (0x46, GOOD[:-1]),
        (0x46, GOOD + b"\xc0"),
        (0x46, b"\xc1"),
        (0x46, msgpack.packb(None)),
        (0x46, msgpack.packb("text")),
        (0x46, msgpack.packb({"time": 1.5})),
        (0x46, msgpack.packb([1.5, "info", ""])),
        (0x46, msgpack.packb([1.5, "info", "", "", ""])),
        (0x46, msgpack.packb([1.5, "info", "", b""])),
        (0x46, msgpack.packb([1.5, "info", "", []])),
        (0x46, msgpack.packb([1.5, "info", "", {}])),
        (0x46, msgpack.packb([1.5, "info", "", {"a": 1}])),
        (0x46, msgpack.packb([1, "info", "", ""])),
        (0x46, b"\x94\xcb\x7f\xf8" + bytes(6) + msgpack.packb("info") + b"\xa0\xa0"),
        (0x46, b"\x94" + msgpack.packb(1.5) + b"\xa4info\xa0\xa1\xff"),
        (0x46, b"\x94" + msgpack.packb(1.5) + b"\xa4info\xa0\xa3\xed\xa0\x80"),
        (0x46, b"\x91" * 2000),
        (0x44, msgpack.packb([None])),
        (0x44, b"\x80"),
        (0x43, msgpack.packb([b""])),
        (0x43, msgpack.packb(["text"])),
        (0x43, msgpack.packb([[b"x"]])),
        (0x43, b"\x91\xc6\xff\xff\xff\xff"),
        (0x48, msgpack.packb([True])),
        (0x48, msgpack.packb([0])),
        (0x48, msgpack.packb([1.0])),
        (0x41, msgpack.packb([{}])),
        (0x41, msgpack.packb([None])),
        (0x41, msgpack.packb([[]])),
        (0x41, b"\x80"),
        (0x42, msgpack.packb([200, None])),
        (0x42, msgpack.packb([200, {}])),
        (0x42, msgpack.packb([200, [None]])),
        (0x42, msgpack.packb([200, [[b"A"]]])),
        (0x42, msgpack.packb([200, [[b"A", b"b"], 7]])),
        (0x42, msgpack.packb([200, [[b"A", [b"b"]]]])),
        (0x42, msgpack.packb([200, [["A", "b"]]])),
        (0x42, msgpack.packb([99, []])),
        (0x45, msgpack.packb(["other", "", ""])),
        (0x47, msgpack.packb([-1, "a", 1, b"x"])),
        (0x47, msgpack.packb([0, "a b", 1, b"x"])),
        (0x47, msgpack.packb([0, "a", 0, b""])),
        (0x47, msgpack.packb([0, "a", 1, b"xx"])),
        (0x47, msgpack.packb([0, "a", 1, "x"])),
        (0x47, msgpack.packb([0, "a", 1, None])),
        (0x47, msgpack.packb([0, "a", 1, {"a": 1}])),
        (0x47, msgpack.packb([0, "a", 2**27, b"x"])),
        (0x49, msgpack.packb([0, b""])),
        (0x49, msgpack.packb([0, [b"x"]])),
        (0x4A, msgpack.packb([0, 0])),
        (0x4A, msgpack.packb([0, True])),
        (0x4B, msgpack.packb([2**63])),
        (0x4B, msgpack.packb([msgpack.Timestamp(1, 0)])),
    ],
)
def test_wrong_payloads(code: int, payload: bytes) -> None:
    """Whatever is wrong, it is the peer's fault and nothing else, and the error says which message it was."""
    with pytest.raises(RemoteProtocolError, match=f"^{TYPES[W][code].message.__name__}: "):
        decode_message(W, code, payload)


def test_the_smallest_requests() -> None:
    """The payloads next to the wrong ones are right."""
    assert decode_message(W, 0x47, msgpack.packb([0, "a", 1, b"x"])) == Call(0, "a", 1, b"x")
    assert decode_message(W, 0x47, msgpack.packb([0, "a", 1, b""])) == Call(0, "a", 1, b"")


def test_lists_of_settings_stay_lists() -> None:
    """Only the protocol's own sequences become tuples."""
    frame = encode_message(S, INVOKE)
    received = decode_message(S, 1, frame[5:])
    assert received == INVOKE
    assert repr(received) == repr(INVOKE)


@pytest.mark.parametrize(("sender", "message"), [(W, BodyEnd()), (S, End()), (W, INVOKE), (S, Chunk(b"x"))])
def test_a_side_sends_only_what_it_has(sender: Role, message: Message) -> None:
    """The other side's messages cannot be sent."""
    with pytest.raises(LocalProtocolError, match="never sends"):
        encode_message(sender, message)


def test_a_message_that_was_changed_is_refused() -> None:
    """Mappings are borrowed; one that became illegal does not get out, and is no crash."""
    settings: dict[str, object] = {}
    message = changed(INVOKE, settings=settings)
    for value in (object(), "\ud800", 2**64):
        settings["x"] = value
        with pytest.raises(LocalProtocolError, match="cannot be encoded"):
            encode_message(S, message)
    settings["x"] = "a" * MAX_FRAME
    with pytest.raises(LocalProtocolError, match="Invoke: payload"):
        encode_message(S, message)
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(LocalProtocolError):
        pack(cycle)


def test_the_number_of_fields_may_be_left_open() -> None:
    """Control datagrams have their type in front."""
    assert decode_payload(b"\x93\1\2\3", count=-1, nested=True) == [1, 2, 3]
    with pytest.raises(RemoteProtocolError, match="3 fields, expected 2"):
        decode_payload(b"\x93\1\2\3", count=2, nested=True)


def test_a_data_frame_at_its_limit() -> None:
    """The most that fits, and the frame limit leaves no room for more than a little."""
    frame = encode_message(W, Chunk(bytes(MAX_DATA)))
    assert len(frame) - 5 <= FRAME_LIMITS[W][0x43] <= MAX_DATA + 128
    with pytest.raises(RemoteProtocolError, match=r"65537 bytes, allowed are 1..65536"):
        decode_message(W, 0x43, msgpack.packb([bytes(MAX_DATA + 1)]))
