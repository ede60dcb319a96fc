"""Connections: order of checks, credit both ways, ends, and what is left after a violation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from protocol.codec import encode_message
from protocol.connection import Connection
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.frames import PREFACE
from protocol.limits import INITIAL_CREDIT, MAX_CREDIT, MAX_DATA, MAX_RECEIVE_BUFFER
from protocol.messages import Body, BodyEnd, Cancel, Chunk, Credit, End, Log, Message, Ready, Response
from protocol.states import Role, SupervisorState, WorkerState
from tests.protocol.support import (
    EXAMPLES,
    INVOKE,
    INVOKED,
    ConnectionPair,
    changed,
    invoked_pair,
    responding_pair,
)

if TYPE_CHECKING:
    from collections.abc import Callable

S, W = Role.SUPERVISOR, Role.WORKER
LOG = Log(1.0, "info", "", "x")


def test_a_whole_conversation() -> None:
    """From the first message to the last, with both ends agreeing after each."""
    pair = ConnectionPair()
    assert pair.ends[S].our_state is SupervisorState.START
    assert pair.ends[S].their_state is WorkerState.START
    assert pair.ends[S].role is S
    conversation: list[tuple[Role, Message]] = [
        *INVOKED,
        (S, Body(b"a" * 10)),
        (W, LOG),
        (W, Credit(10)),
        (S, BodyEnd()),
        (W, Response(200, ())),
        (W, Chunk(b"b" * 7)),
        (S, Credit(7)),
        (W, End()),
        (W, LOG),
    ]
    for sender, message in conversation:
        assert pair.move(sender, message) == message
    for end in pair.ends.values():
        assert end.send_window == end.receive_window == INITIAL_CREDIT
        assert not end.at_eof
        end.receive_data(b"")
        assert end.next_message() is None
        assert end.at_eof
    assert pair.ends[S].their_state is WorkerState.ENDED


def test_the_preface_comes_with_the_first_message_only() -> None:
    """Also if an earlier attempt failed."""
    end = Connection(W)
    with pytest.raises(LocalProtocolError):
        end.send(End())
    assert end.send(LOG) == PREFACE + encode_message(W, LOG)
    assert end.send(Ready()) == encode_message(W, Ready())


def test_the_preface_survives_a_failed_encoding() -> None:
    """An encoding that fails changes nothing."""
    settings: dict[str, object] = {}
    message = changed(INVOKE, settings=settings)
    settings["a"] = object()
    end = ready_supervisor()
    with pytest.raises(LocalProtocolError, match="cannot be encoded"):
        end.send(message)
    assert end.our_state is SupervisorState.START
    assert end.their_state is WorkerState.READY
    assert end.send(INVOKE) == PREFACE + encode_message(S, INVOKE)


def ready_supervisor() -> Connection:
    """A supervisor's end whose worker is ready, and that has not sent anything."""
    end = Connection(S)
    end.receive_data(PREFACE + encode_message(W, Ready()))
    assert end.next_message() == Ready()
    return end


DATA: list[tuple[Role, Role, Callable[[bytes], Message], Callable[[], ConnectionPair]]] = [
    (S, W, Body, invoked_pair),
    (W, S, Chunk, responding_pair),
]


@pytest.mark.parametrize(("sender", "receiver", "make", "start"), DATA)
def test_data_needs_credit(
    sender: Role, receiver: Role, make: Callable[[bytes], Message], start: Callable[[], ConnectionPair]
) -> None:
    """The initial credit can be spent to the last byte and no further, until more is granted."""
    pair = start()
    for _ in range(INITIAL_CREDIT // MAX_DATA):
        pair.move(sender, make(bytes(MAX_DATA)))
    assert pair.ends[sender].send_window == pair.ends[receiver].receive_window == 0
    with pytest.raises(LocalProtocolError, match="1 bytes of data, the credit is 0"):
        pair.ends[sender].send(make(b"x"))
    pair.check_agreement()
    pair.move(receiver, Credit(2))
    with pytest.raises(LocalProtocolError, match="3 bytes of data, the credit is 2"):
        pair.ends[sender].send(make(b"xxx"))
    pair.move(sender, make(b"xx"))
    pair.check_agreement()


@pytest.mark.parametrize(("sender", "receiver", "make", "start"), DATA)
def test_a_peer_that_overruns_its_credit_breaks_the_protocol(
    sender: Role, receiver: Role, make: Callable[[bytes], Message], start: Callable[[], ConnectionPair]
) -> None:
    """The receiver counts as well."""
    pair = start()
    end = pair.ends[receiver]
    for _ in range(INITIAL_CREDIT // MAX_DATA):
        pair.move(sender, make(bytes(MAX_DATA)))
    end.receive_data(encode_message(sender, make(b"x")))
    with pytest.raises(RemoteProtocolError, match="the credit is 0"):
        end.next_message()
    assert end.receive_window == 0


def test_credit_that_overflows() -> None:
    """More credit than may be outstanding can neither be granted nor taken."""
    pair = invoked_pair()
    pair.move(S, Credit(MAX_CREDIT - INITIAL_CREDIT))
    pair.move(W, Credit(MAX_CREDIT - INITIAL_CREDIT))
    for end in pair.ends.values():
        assert end.send_window == end.receive_window == MAX_CREDIT
        with pytest.raises(LocalProtocolError, match="outstanding"):
            end.send(Credit(1))
    pair.check_agreement()
    end = pair.ends[S]
    end.receive_data(encode_message(W, Credit(1)))
    with pytest.raises(RemoteProtocolError, match="outstanding"):
        end.next_message()
    assert end.send_window == MAX_CREDIT


def broken_connection() -> Connection:
    """A supervisor's end whose worker has broken the protocol."""
    end = ready_supervisor()
    end.send(INVOKE)
    end.receive_data(encode_message(W, LOG) + encode_message(W, End()) + encode_message(W, LOG))
    assert end.next_message() == LOG
    with pytest.raises(RemoteProtocolError, match="End is illegal while the worker is INVOKED"):
        end.next_message()
    return end


def test_a_broken_connection_is_dead() -> None:
    """Every later call raises the same class of error, and what came after the violation is never returned."""
    end = broken_connection()
    calls: list[Callable[[], object]] = [
        end.next_message,
        lambda: end.receive_data(b"x"),
        lambda: end.receive_data(b""),
        lambda: end.send(Cancel("")),
        end.next_message,
    ]
    for call in calls:
        with pytest.raises(RemoteProtocolError, match="dead: End is illegal"):
            call()
    assert not end.at_eof
    assert end.their_state is WorkerState.INVOKED
    assert end.our_state is SupervisorState.SENDING


def test_a_mistake_of_ours_does_not_kill_the_connection() -> None:
    """A local error leaves everything as it was."""
    pair = invoked_pair()
    with pytest.raises(LocalProtocolError, match="Invoke is illegal"):
        pair.ends[S].send(INVOKE)
    with pytest.raises(LocalProtocolError, match=r"worker never sends|illegal"):
        pair.ends[W].send(BodyEnd())
    pair.move(S, BodyEnd())
    pair.ends[S].receive_data(b"")
    with pytest.raises(LocalProtocolError, match="after the end"):
        pair.ends[S].receive_data(b"x")
    assert pair.ends[S].at_eof


def test_half_a_message_is_known_of() -> None:
    """From its first byte on, until it is whole."""
    end = Connection(S)
    data = PREFACE + encode_message(W, LOG)
    assert not end.has_more
    for size in (1, len(PREFACE), len(PREFACE) + 1, len(data) - 1):
        end = Connection(S)
        end.receive_data(data[:size])
        assert end.next_message() is None
        assert end.has_more == (size != len(PREFACE))
    end.receive_data(data[-1:])
    assert end.next_message() == LOG
    assert not end.has_more


def test_a_full_buffer_is_a_mistake_of_the_caller() -> None:
    """The peer is not to blame when nobody takes its messages."""
    end = Connection(S)
    end.receive_data(PREFACE + encode_message(W, LOG))
    with pytest.raises(LocalProtocolError, match="read the messages first"):
        end.receive_data(bytes(MAX_RECEIVE_BUFFER))
    assert end.next_message() == LOG


def test_an_end_within_a_frame_is_a_violation() -> None:
    """What came whole is returned first."""
    end = Connection(S)
    end.receive_data(PREFACE + encode_message(W, LOG) + encode_message(W, LOG)[:-1])
    end.receive_data(b"")
    assert end.next_message() == LOG
    with pytest.raises(RemoteProtocolError, match="within a frame"):
        end.next_message()


def test_an_end_between_frames_is_no_violation_in_any_state() -> None:
    """A worker that dies early has broken nothing; its state tells that it had not finished."""
    pair = responding_pair()
    pair.ends[S].receive_data(b"")
    assert pair.ends[S].next_message() is None
    assert pair.ends[S].at_eof
    assert pair.ends[S].their_state is WorkerState.RESPONDING


@pytest.mark.parametrize("role", Role)
def test_the_peer_cannot_use_our_messages(role: Role) -> None:
    """A type byte of the wrong direction is refused by its header."""
    end = Connection(role)
    end.receive_data(PREFACE + encode_message(role, EXAMPLES[role][0])[:5])
    with pytest.raises(RemoteProtocolError, match="not one that this peer may send"):
        end.next_message()


def test_a_worker_that_answers_before_it_was_asked() -> None:
    """The supervisor's own messages move the worker's state, so an early answer is noticed."""
    end = ready_supervisor()
    end.receive_data(encode_message(W, Response(200, ())))
    with pytest.raises(RemoteProtocolError, match="Response is illegal while the worker is READY"):
        end.next_message()


def test_a_worker_that_answers_before_it_is_ready() -> None:
    """A worker that was asked nothing and is not even ready has nothing to say but LOG, READY and ERROR."""
    end = Connection(S)
    end.receive_data(PREFACE + encode_message(W, LOG) + encode_message(W, Response(200, ())))
    assert end.next_message() == LOG
    with pytest.raises(RemoteProtocolError, match="Response is illegal while the worker is START"):
        end.next_message()
    with pytest.raises(RemoteProtocolError, match="dead: Response is illegal"):
        end.send(Cancel(""))


def test_a_request_waits_for_a_worker_that_is_ready() -> None:
    """A supervisor cannot send the settings of a hook to a worker that has not imported its source."""
    end = Connection(S)
    with pytest.raises(LocalProtocolError, match="Invoke is illegal while the worker is START"):
        end.send(INVOKE)
    end.receive_data(PREFACE + encode_message(W, Ready()))
    assert end.next_message() == Ready()
    assert end.send(INVOKE) == PREFACE + encode_message(S, INVOKE)


def test_errors_have_one_base() -> None:
    """Both sides of the split can be caught at once; only ours is a ValueError."""
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert issubclass(LocalProtocolError, ValueError)
    assert not issubclass(RemoteProtocolError, ValueError)
