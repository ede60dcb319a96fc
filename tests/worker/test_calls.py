"""Reverse calls over a real channel: pieces both ways, many at once, early ends, and who may not make any."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from protocol import (
    MAX_OPEN_CALLS,
    Call,
    CallCancel,
    CallCredit,
    CallData,
    CallResult,
    Cancel,
    End,
    LocalProtocolError,
    Message,
    Response,
    pack_value,
    unpack_value,
)
from tests.worker.test_channel import Peer, in_thread
from worker.calls import CallClient, CallError, OpenCall, make_plain
from worker.channel import Cancelled


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A supervisor in the same process, whose worker has been asked."""
    peer = Peer()
    peer.invoke()
    yield peer
    peer.close()


def item(call_id: int, value: object) -> CallResult:
    """A whole item."""
    return CallResult(call_id, "response", pack_value(value), more=False)


def end(call_id: int) -> CallResult:
    """The end of an answer."""
    return CallResult(call_id, "end", b"", more=False)


def read_until(peer: Peer, kind: type[Message]) -> list[Any]:
    """All that comes, up to a message of a class."""
    found: list[Any] = []
    while not any(isinstance(message, kind) for message in found):
        found += peer.read()
    return found


def test_a_call(peer: Peer) -> None:
    """Goes out whole, and its items come back one by one."""
    call = CallClient(peer.channel).open("app", {"a": 1})
    assert peer.read() == [Call(0, "app", 4, b"\x81\xa1a\x01")]
    peer.send(item(0, {"n": 1}), item(0, None), end(0))
    assert [call.read(), call.read(), call.read(), call.over, call.read()] == [({"n": 1},), (None,), (), True, ()]


def test_a_large_request_waits_for_credit(peer: Peer) -> None:
    """And is whole when it has arrived."""
    value = {"content": os.urandom(300_000)}
    result = in_thread(lambda: CallClient(peer.channel).open("upload_file", value))
    (call,) = read_until(peer, Call)
    data = call.data
    peer.send(CallCredit(0, call.size - len(data)))
    while len(data) < call.size:
        data += b"".join(piece.data for piece in peer.read() if isinstance(piece, CallData))
    assert unpack_value(data) == value
    assert isinstance(result(), OpenCall)


def test_a_large_item_is_put_together_and_paid_for(peer: Peer) -> None:
    """Credit goes back as pieces are taken."""
    call = CallClient(peer.channel).open("llm", {})
    peer.read()
    value = {"data": bytes(400_000)}
    result = in_thread(call.read)
    data = memoryview(pack_value(value))
    while data:
        state = peer.connection.calls.find(0)
        assert state is not None
        size = min(len(data), state.answer_window, 60_000)
        if size == 0:
            peer.read()
            continue
        peer.send(CallResult(0, "response", bytes(data[:size]), more=size < len(data)))
        data = data[size:]
    assert result() == (value,)


def test_errors(peer: Peer) -> None:
    """The text, once; and after it nothing."""
    call = CallClient(peer.channel).open("app", {})
    peer.read()
    peer.send(CallResult(0, "error", "kaputt é\xff".encode("latin-1"), more=False))
    with pytest.raises(CallError, match="kaputt"):
        call.read()
    assert call.over


def test_an_early_error_ends_the_request(peer: Peer) -> None:
    """What was not sent need not be, and both sides forget the call."""
    result = in_thread(lambda: CallClient(peer.channel).open("upload_file", {"content": bytes(200_000)}))
    read_until(peer, Call)
    peer.send(CallResult(0, "error", b"too large", more=False))
    assert CallCancel(0) in read_until(peer, CallCancel)
    call = result()
    assert isinstance(call, OpenCall)
    with pytest.raises(CallError, match="too large"):
        call.read()
    assert peer.connection.calls.count == 0


def test_nothing_in_time(peer: Peer) -> None:
    """Nothing is returned, and the call goes on."""
    call = CallClient(peer.channel).open("app", {})
    peer.read()
    assert call.read(0.01) == ()
    assert not call.over
    peer.send(item(0, 1))
    assert call.read(5) == (1,)


def test_a_call_that_is_closed(peer: Peer) -> None:
    """The supervisor is told, once; what comes afterwards is dropped."""
    call = CallClient(peer.channel).open("app", {})
    peer.read()
    call.close()
    call.close()
    assert peer.read() == [CallCancel(0)]
    peer.send(item(0, 1), end(0))
    again = CallClient(peer.channel).open("app", {})
    peer.read()
    peer.send(item(1, 2))
    assert again.read() == (2,)
    assert peer.connection.calls.count == 1


def ask(client: CallClient, number: int) -> object:
    """Make a call, and return its first item."""
    return client.open("app", {"n": number}).read()


def test_calls_of_many_threads(peer: Peer) -> None:
    """Answers that come in another order find their own."""
    client = CallClient(peer.channel)
    results = [in_thread(functools.partial(ask, client, number)) for number in range(20)]
    asked: dict[int, Any] = {}
    while len(asked) < len(results):
        for message in peer.read():
            if isinstance(message, Call):
                asked[message.call_id] = unpack_value(message.data)
    for call_id in reversed(asked):
        peer.send(item(call_id, asked[call_id]), end(call_id))
    assert [result() for result in results] == [({"n": number},) for number in range(20)]


def test_no_more_than_may_be_open(peer: Peer) -> None:
    """One more waits until one is over."""
    client = CallClient(peer.channel)
    for _ in range(MAX_OPEN_CALLS):
        client.open("app", {})
    waiting = threading.Event()

    def one_more() -> object:
        waiting.set()
        return client.open("app", {})

    result = in_thread(one_more)
    waiting.wait(10)
    calls = 0
    while calls < MAX_OPEN_CALLS:
        calls += sum(isinstance(message, Call) for message in peer.read())
    peer.send(end(7))
    assert read_until(peer, Call)[0].call_id == MAX_OPEN_CALLS
    assert isinstance(result(), OpenCall)


def test_a_cancellation_ends_all_waits(peer: Peer) -> None:
    """In a call as anywhere else; closing it then is quiet."""
    call = CallClient(peer.channel).open("app", {})
    result = in_thread(call.read)
    peer.send(Cancel(reason="client.gone"))
    assert isinstance(result(), Cancelled)
    call.close()
    with pytest.raises(Cancelled):
        CallClient(peer.channel).open("app", {})


def test_calls_after_the_answer(peer: Peer) -> None:
    """Hooks that run when the answer is over can make them."""
    peer.channel.send(Response(status=200, headers=()))
    peer.channel.send(End())
    call = CallClient(peer.channel).open("storage", {})
    read_until(peer, Call)
    peer.send(item(0, True), end(0))
    assert call.read() == (True,)


def test_a_request_that_cannot_be_sent(peer: Peer) -> None:
    """Is refused before anything of it is sent."""
    cycle: list[object] = []
    cycle.append(cycle)
    for request in ({"x": cycle}, {"x": "\ud800"}, {"x": bytes(1 << 27)}):
        with pytest.raises(CallError, match=r"^app: "):
            CallClient(peer.channel).open("app", request)
    CallClient(peer.channel).open("app", {})
    assert [message.call_id for message in peer.read() if isinstance(message, Call)] == [0]


class Colour(Enum):
    """Something that is not plain."""

    RED = "red"


class Record:
    """Likewise."""

    def model_dump(self, *, mode: str) -> dict[str, object]:
        """As pydantic has it."""
        return {"mode": mode, "colour": Colour.RED}


def test_plain_data_of_what_endpoints_use() -> None:
    """As JSON would have it, only that bytes stay bytes."""
    found = make_plain(
        {
            "enum": Colour.RED,
            Colour.RED: (1, 2.5, True, None),
            3: {"set"},
            "record": Record(),
            "bytes": [b"\xff", bytearray(b"a"), memoryview(b"b")],
            "decimal": Decimal("0.10"),
            "big": 2**70,
        }
    )
    assert found == {
        "enum": "red",
        "red": [1, 2.5, True, None],
        "3": ["set"],
        "record": {"mode": "json", "colour": "red"},
        "bytes": [b"\xff", b"a", b"b"],
        "decimal": "0.10",
        "big": str(2**70),
    }
    pack_value(found)
    with pytest.raises(LocalProtocolError, match="deeper"):
        make_plain(_nested(200))


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value
