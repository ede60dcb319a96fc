"""Plain data: what it may hold, its limits, and that payloads cannot unfold to more than they may."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import msgpack
import pytest
from hypothesis import given

from protocol.codec import decode_payload
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_DEPTH, MAX_NODES, MAX_PAYLOAD_NODES
from protocol.plain import check_plain, check_structure, utf8_size
from tests.protocol import strategies

if TYPE_CHECKING:
    from collections.abc import Callable


def nested(depth: int) -> object:
    """A list of lists of that depth."""
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


@given(strategies.plain)
def test_the_size_is_that_of_the_encoding(value: object) -> None:
    """The limit is on exactly the bytes that msgpack makes of it."""
    size = len(msgpack.packb(value))
    check_plain("x", value, size)
    with pytest.raises(LocalProtocolError, match=f"{size} bytes encoded, at most {size - 1}"):
        check_plain("x", value, size - 1)


@pytest.mark.parametrize("length", [0, 15, 16, 31, 32, 255, 256, 65535, 65536])
@pytest.mark.parametrize(
    "make", [lambda n: "a" * n, bytes, lambda n: [None] * n, lambda n: {str(i): None for i in range(n)}]
)
def test_the_size_at_every_step_of_the_format(length: int, make: Callable[[int], object]) -> None:
    """Lengths around which the format changes its headers."""
    value = make(length)
    if 2 * length >= MAX_NODES and isinstance(value, dict):
        return
    if isinstance(value, list) and length >= MAX_NODES:
        return
    size = len(msgpack.packb(value))
    check_plain("x", value, size)
    with pytest.raises(LocalProtocolError):
        check_plain("x", value, size - 1)


@pytest.mark.parametrize("bits", [0, 5, 7, 8, 15, 16, 31, 32, 63, 64])
@pytest.mark.parametrize("offset", [-1, 0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_size_of_ints(bits: int, offset: int, sign: int) -> None:
    """Ints around which the format changes its width; the size is never less than it is."""
    value = sign * 2**bits + offset
    if not -(2**63) <= value < 2**64:
        with pytest.raises(LocalProtocolError, match="bits, at most 64"):
            check_plain("x", value, 99)
        return
    size = len(msgpack.packb(value))
    check_plain("x", value, size)
    with pytest.raises(LocalProtocolError):
        check_plain("x", value, size - 1)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1},
        object(),
        bytearray(b"x"),
        memoryview(b"x"),
        1j,
        msgpack.ExtType(1, b"x"),
        msgpack.Timestamp(1, 0),
        type("Text", (str,), {})("x"),
        type("List", (list,), {})(),
        type("Dict", (dict,), {})(),
        type("Int", (int,), {})(3),
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"k": [value]}])
def test_other_types_are_refused(value: object, wrap: Callable[[object], object]) -> None:
    """Only the plain types themselves, at any depth."""
    with pytest.raises(LocalProtocolError, match="not plain data"):
        check_plain("x", wrap(value), 1000)


@pytest.mark.parametrize("key", [1, None, b"k", (1,), 1.5, True])
def test_keys_are_text(key: object) -> None:
    """Maps have texts for keys."""
    with pytest.raises(LocalProtocolError, match="expected str"):
        check_plain("x", {key: 1}, 1000)


@pytest.mark.parametrize("value", ["\ud800", ["a\udfffb"], {"\ud800": 1}])
def test_lone_surrogates_are_refused(value: object) -> None:
    """UTF-8 cannot express them; that is an error, not a crash."""
    with pytest.raises(LocalProtocolError, match="surrogate"):
        check_plain("x", value, 1000)


def test_utf8_size() -> None:
    """The size of a text is that of its UTF-8."""
    assert utf8_size("x", "aé€😀") == 1 + 2 + 3 + 4
    with pytest.raises(LocalProtocolError, match="index 1"):
        utf8_size("x", "a\ud800")


def test_floats_that_are_no_numbers_are_plain_data() -> None:
    """NaN and the infinities travel like any other float."""
    check_plain("x", [float("nan"), float("inf"), -float("inf")], 28)


def test_depth_is_bounded() -> None:
    """The last level is allowed, one more is not, and a cycle is refused like any other depth."""
    check_plain("x", nested(MAX_DEPTH), 1000)
    with pytest.raises(LocalProtocolError, match=f"deeper than {MAX_DEPTH}"):
        check_plain("x", nested(MAX_DEPTH + 1), 1000)
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(LocalProtocolError, match="deeper"):
        check_plain("x", cycle, 1000)


def test_the_number_of_values_is_bounded() -> None:
    """Every container, key and scalar counts, also when one object is met many times."""
    check_plain("x", [None] * (MAX_NODES - 1), MAX_NODES * 2)
    with pytest.raises(LocalProtocolError, match=f"more than {MAX_NODES} values"):
        check_plain("x", [None] * MAX_NODES, MAX_NODES * 2)
    check_plain("x", {str(i): None for i in range(MAX_NODES // 2 - 1)}, MAX_NODES * 9)
    with pytest.raises(LocalProtocolError, match="values"):
        check_plain("x", {str(i): None for i in range(MAX_NODES // 2)}, MAX_NODES * 9)
    laughs: object = "ha"
    for _ in range(20):
        laughs = [laughs] * 10
    with pytest.raises(LocalProtocolError, match="values"):
        check_plain("x", laughs, 2**40)


@given(strategies.plain)
def test_legal_payloads_pass_the_structure_check(value: object) -> None:
    """What is legal as data is legal as bytes, walked or not."""
    check_structure(msgpack.packb([value]))


def test_the_deepest_and_widest_legal_payloads_pass_the_exact_check() -> None:
    """The limits of the two checks meet: what may be sent may be received."""
    padding = "\x80" * 100_000
    for value in (nested(MAX_DEPTH), [None] * (MAX_NODES - 1), {str(i): [] for i in range(MAX_NODES // 2 - 1)}):
        check_plain("x", value, 2**40)
        payload = msgpack.packb([value, padding])
        assert decode_payload(payload, count=2, nested=True) == [value, padding]


def test_every_form_of_the_format_is_walked_over() -> None:
    """The exact check knows the length of every form, the longer ones of short values too."""
    forms = [
        b"\xc0\xc2\xc3\x7f\xff\xcc\x01\xcd\0\1\xce\0\0\0\1\xcf" + bytes(8),
        b"\xd0\1\xd1\0\1\xd2" + bytes(4) + b"\xd3" + bytes(8) + b"\xca" + bytes(4) + b"\xcb" + bytes(8),
        b"\xa1a\xd9\1a\xda\0\1a\xdb\0\0\0\1a\xc4\1a\xc5\0\1a\xc6\0\0\0\1a",
        b"\x91\xc0\xdc\0\1\xc0\xdd\0\0\0\1\xc0\x81\xa1a\xc0\xde\0\1\xa1a\xc0\xdf\0\0\0\1\xa1a\xc0",
    ]
    count = 5 + 4 + 6 + 7 + 6
    padding = b"\xc6\0\1\0\0" + b"\x80" * 65536
    payload = b"\xdc" + (count + 1).to_bytes(2, "big") + b"".join(forms) + padding
    assert len(decode_payload(payload, count=-1, nested=True)) == count + 1


PADDING = b"\xc6\0\1\0\0" + b"\x80" * 65536
BOMBS = {
    "deep": b"\x91" * 100_000 + b"\xc0",
    "deep by one": b"\x92" + PADDING + b"\x91" * (MAX_DEPTH + 1) + b"\xc0",
    "deep and claiming": (b"\xdd\0\x0f\0\0" * 200_000)[:1_000_000],
    "claiming": b"\xdd\xff\xff\xff\xff" + bytes(1_000_000),
    "claiming a map": b"\xdf\xff\xff\xff\xff" + bytes(1_000_000),
    "wide nil": b"\xdd\0\x0f\0\0" + b"\xc0" * 0xF0000,
    "wide empty maps": b"\xdd\0\x0f\0\0" + b"\x80" * 0xF0000,
    "wide empty arrays in rows": b"\xdc\1\0" + (b"\xdc\x0f\0" + b"\x90" * 0xF00) * 256,
    "small maps": b"\xdd\0\5\0\0" + b"\x81\xa0\xc0" * 0x50000,
    "one too many": b"\x92"
    + PADDING
    + b"\xdd"
    + (MAX_PAYLOAD_NODES - 2).to_bytes(4, "big")
    + b"\xc0" * (MAX_PAYLOAD_NODES - 2),
    "cut short": b"\x92" + PADDING,
    "unused byte": b"\x92" + PADDING + b"\xc1",
    "ext": b"\x92" + PADDING + b"\xd4\x05\0",
}


@pytest.mark.parametrize("payload", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused_within_bounded_memory(payload: bytes) -> None:
    """No payload makes the decoder allocate much more than its own size."""
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            decode_payload(payload, count=2, nested=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(payload) + 2**22


def test_the_costliest_legal_payload_is_bounded() -> None:
    """As many small maps as there may be cost less than 32 MiB."""
    maps = MAX_NODES // 3 - 1
    payload = b"\x91\xdd" + maps.to_bytes(4, "big") + b"\x81\xa0\xc0" * maps
    tracemalloc.start()
    try:
        (value,) = decode_payload(payload, count=1, nested=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    check_plain("x", value, 2**40)
    assert peak < 32 * 2**20
