"""Values of reverse calls: round trips, bounds, and nothing but the remote error for whatever comes."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_CALL_BYTES, MAX_CALL_DEPTH, MAX_CALL_NODES, MAX_NODES
from protocol.values import pack_value, unpack_value
from tests.protocol import strategies


@given(strategies.plain)
def test_values_come_back_as_they_were(value: object) -> None:
    """Down to their types."""
    again = unpack_value(pack_value(value))
    assert again == value
    assert repr(again) == repr(value)


@given(st.binary(max_size=300))
def test_garbage_gives_only_the_remote_error(data: bytes) -> None:
    """Any bytes at all."""
    try:
        unpack_value(data, nodes=MAX_NODES)
    except RemoteProtocolError:
        return


@given(strategies.plain, st.data())
def test_damaged_values_give_only_the_remote_error(value: object, data: st.DataObject) -> None:
    """Bytes changed, removed and put in."""
    damaged = bytearray(pack_value(value))
    start = data.draw(st.integers(0, len(damaged)))
    damaged[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        unpack_value(bytes(damaged), nodes=MAX_NODES)
    except RemoteProtocolError:
        return


@pytest.mark.parametrize("value", [(1,), {1: 2}, {b"a": 1}, object(), "\ud800", 2**64, [{"a": {1, 2}}]])
def test_what_is_not_plain_is_refused(value: object) -> None:
    """Before it is sent."""
    with pytest.raises(LocalProtocolError, match=r"^value"):
        pack_value(value)


def nested(depth: int) -> object:
    """So many lists, one in the other."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_and_number_are_bounded_both_ways() -> None:
    """At the limit and one beyond."""
    assert unpack_value(pack_value(nested(MAX_CALL_DEPTH))) == nested(MAX_CALL_DEPTH)
    with pytest.raises(LocalProtocolError, match="nested deeper"):
        pack_value(nested(MAX_CALL_DEPTH + 1))
    with pytest.raises(RemoteProtocolError, match="nested deeper"):
        unpack_value(msgpack.packb(nested(MAX_CALL_DEPTH + 1)))
    wide = [None] * (MAX_NODES - 1)
    assert unpack_value(msgpack.packb(wide), nodes=MAX_NODES) == wide
    with pytest.raises(RemoteProtocolError, match="more than"):
        unpack_value(msgpack.packb([*wide, None]), nodes=MAX_NODES)
    with pytest.raises(RemoteProtocolError, match="bytes, at most"):
        unpack_value(bytes(MAX_CALL_BYTES + 1))


def test_vectors_are_counted_without_a_step_for_each_number() -> None:
    """As many numbers as there may be, in bytes and as objects."""
    vectors = [[0.5] * 4095 for _ in range(MAX_CALL_NODES // 4096 - 1)]
    data = pack_value({"embeddings": vectors})
    assert unpack_value(data) == {"embeddings": vectors}
    with pytest.raises(LocalProtocolError, match="more than"):
        pack_value([*vectors, [0.5] * 8192])


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff" + b"\xcb" * 100,
        b"\xdf\xff\xff\xff\xff" + b"\xcb" * 100,
        b"\xdd\x00\x0f\xff\xff" * 1000,
        b"\xdc\xff\xff" + b"\xcb" * 65535,
        b"\x91" * 100_000,
    ],
)
def test_bombs_cost_nothing(data: bytes) -> None:
    """What claims to be large is not made room for."""
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            unpack_value(data, nodes=MAX_NODES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(data) + 2**22
