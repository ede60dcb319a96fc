"""Who may send what, when: all of it, as data.

Theory of operation. A connection is two one-way streams, and each sender has a state of its own, as in h11.
Both sides keep both states: one's own tells what may be sent, the peer's tells what may be received. There
is one table per sender, `role -> state -> message -> next state`; a message that a row does not name is
illegal in that state.

The two machines touch in one place. A worker may not answer a request that was not asked; so INVOKE, which
the supervisor sends, also moves the worker, and is itself illegal where it would not: it goes out only after
READY has come in. `PEER_EVENTS` holds these moves. They may cross with an ERROR that the worker has sent
meanwhile; a failed worker stays failed.

A worker that is kept says READY again after END. What it says before that belongs to the old request, and so
does what the supervisor says before the next INVOKE: each direction has one point where all begins anew.

Rules of this file. The tables are the only place that decides. `advance` is pure: it returns the new pair or
raises, and so an illegal move changes nothing. Sizes and credit are not its business, nor is which calls there are:
`CallTable` knows. The documentation draws these tables, and a test compares.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.errors import LocalProtocolError
from protocol.messages import (
    Body,
    BodyEnd,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Invoke,
    Log,
    Message,
    Ready,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PEER_EVENTS",
    "START",
    "TRANSITIONS",
    "Event",
    "Role",
    "State",
    "StatePair",
    "SupervisorState",
    "WorkerState",
    "advance",
]


class Role(Enum):
    """The two ends of a connection."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"

    __hash__ = object.__hash__  # that of Enum is a function in Python, and members are keys of every table


class SupervisorState(Enum):
    """How far the supervisor has got with what it sends."""

    START = "start"
    SENDING = "sending"
    SENT = "sent"
    CANCELLED = "cancelled"

    __hash__ = object.__hash__


class WorkerState(Enum):
    """How far the worker has got with what it sends."""

    START = "start"
    READY = "ready"
    INVOKED = "invoked"
    RESPONDING = "responding"
    ENDED = "ended"
    FAILED = "failed"

    __hash__ = object.__hash__


State: TypeAlias = SupervisorState | WorkerState
Event: TypeAlias = type[Message]


class StatePair(NamedTuple):
    """The states of both senders."""

    supervisor: SupervisorState
    worker: WorkerState


START: Final = StatePair(SupervisorState.START, WorkerState.START)
"""Where every connection begins."""

_S: TypeAlias = SupervisorState
_W: TypeAlias = WorkerState

_SUPERVISOR: Final[dict[SupervisorState, dict[Event, SupervisorState]]] = {
    _S.START: {Invoke: _S.SENDING, Cancel: _S.CANCELLED},
    _S.SENDING: {
        Invoke: _S.SENDING,
        Body: _S.SENDING,
        BodyEnd: _S.SENT,
        Credit: _S.SENDING,
        CallResult: _S.SENDING,
        CallCredit: _S.SENDING,
        Cancel: _S.CANCELLED,
    },
    _S.SENT: {Invoke: _S.SENDING, Credit: _S.SENT, CallResult: _S.SENT, CallCredit: _S.SENT, Cancel: _S.CANCELLED},
    _S.CANCELLED: {},
}

_WORKER: Final[dict[WorkerState, dict[Event, WorkerState]]] = {
    _W.START: {Ready: _W.READY, Error: _W.FAILED, Log: _W.START},
    _W.READY: {Error: _W.FAILED, Log: _W.READY},
    _W.INVOKED: {
        Response: _W.RESPONDING,
        Credit: _W.INVOKED,
        Call: _W.INVOKED,
        CallData: _W.INVOKED,
        CallCredit: _W.INVOKED,
        CallCancel: _W.INVOKED,
        Error: _W.FAILED,
        Log: _W.INVOKED,
    },
    _W.RESPONDING: {
        Chunk: _W.RESPONDING,
        End: _W.ENDED,
        Credit: _W.RESPONDING,
        Call: _W.RESPONDING,
        CallData: _W.RESPONDING,
        CallCredit: _W.RESPONDING,
        CallCancel: _W.RESPONDING,
        Error: _W.FAILED,
        Log: _W.RESPONDING,
    },
    _W.ENDED: {
        Ready: _W.READY,
        Log: _W.ENDED,
        Call: _W.ENDED,
        CallData: _W.ENDED,
        CallCredit: _W.ENDED,
        CallCancel: _W.ENDED,
    },
    _W.FAILED: {},
}

TRANSITIONS: Final[Mapping[Role, Mapping[State, Mapping[Event, State]]]] = MappingProxyType(
    {
        Role.SUPERVISOR: {state: row for state, row in _SUPERVISOR.items()},  # noqa: C416 - widens the keys
        Role.WORKER: {state: row for state, row in _WORKER.items()},  # noqa: C416 - likewise
    }
)
"""What each sender may send in each of its states, and the state that follows."""

PEER_EVENTS: Final[Mapping[Event, Mapping[WorkerState, WorkerState]]] = MappingProxyType(
    {Invoke: {_W.READY: _W.INVOKED, _W.FAILED: _W.FAILED}}
)
"""Messages of the supervisor that move the worker too. In a state that is not named they are illegal."""


def advance(states: StatePair, sender: Role, event: Event) -> StatePair:
    """Return the states after a message.

    Args:
        states: The states of both senders before it.
        sender: Who sends it.
        event: Class of the message.

    Returns:
        The states of both senders after it.

    Raises:
        LocalProtocolError: The message is illegal now. The receiving side reports it as the peer's fault.
    """
    supervisor, worker = states
    if sender is Role.WORKER:
        next_worker = _WORKER[worker].get(event)
        if next_worker is None:
            raise LocalProtocolError(f"{event.__name__} is illegal while the worker is {worker.name}")
        return states if next_worker is worker else StatePair(supervisor, next_worker)
    next_supervisor = _SUPERVISOR[supervisor].get(event)
    if next_supervisor is None:
        raise LocalProtocolError(f"{event.__name__} is illegal while the supervisor is {supervisor.name}")
    moves = PEER_EVENTS.get(event)
    if moves is not None:
        if worker not in moves:
            raise LocalProtocolError(f"{event.__name__} is illegal while the worker is {worker.name}")
        worker = moves[worker]
    return StatePair(next_supervisor, worker)
