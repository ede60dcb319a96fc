"""States: the tables against a copy made by hand, and every pair of state and message walked."""

from __future__ import annotations

from itertools import product

import pytest

from protocol.connection import Connection
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import Message, Ready
from protocol.states import (
    PEER_EVENTS,
    START,
    TRANSITIONS,
    Role,
    StatePair,
    SupervisorState,
    WorkerState,
    advance,
)
from tests.protocol.support import EXAMPLES, PEER, ConnectionPair, with_open_call

EXPECTED = {
    Role.SUPERVISOR: """
        START      Invoke:SENDING Cancel:CANCELLED
        SENDING    Invoke:SENDING Body:SENDING \\
                   BodyEnd:SENT Credit:SENDING CallResult:SENDING CallCredit:SENDING Cancel:CANCELLED
        SENT       Invoke:SENDING Credit:SENT CallResult:SENT CallCredit:SENT Cancel:CANCELLED
        CANCELLED
    """,
    Role.WORKER: """
        START      Ready:READY Error:FAILED Log:START
        READY      Error:FAILED Log:READY
        INVOKED    Response:RESPONDING Credit:INVOKED Call:INVOKED CallData:INVOKED CallCredit:INVOKED \\
                   CallCancel:INVOKED Error:FAILED Log:INVOKED
        RESPONDING Chunk:RESPONDING End:ENDED Credit:RESPONDING Call:RESPONDING CallData:RESPONDING \\
                   CallCredit:RESPONDING CallCancel:RESPONDING Error:FAILED Log:RESPONDING
        ENDED      Ready:READY Log:ENDED Call:ENDED CallData:ENDED CallCredit:ENDED CallCancel:ENDED
        FAILED
    """,
}
EXPECTED_PEER_EVENTS = {
    ("Invoke", "READY"): "INVOKED",
    ("Invoke", "FAILED"): "FAILED",
}

PAIRS = [StatePair(*states) for states in product(SupervisorState, WorkerState)]
SENT = [(sender, message) for sender, messages in EXAMPLES.items() for message in messages]
"""Every message that either side has."""
FOREIGN = [(PEER[sender], message) for sender, message in SENT if "Credit" not in type(message).__name__]
"""Every message in the mouth of the side that does not have it."""


def legal_after(states: StatePair, sender: Role, message: Message) -> StatePair | None:
    """What the copy made by hand says: the states after a message, None where it is illegal."""
    own = states.supervisor if sender is Role.SUPERVISOR else states.worker
    event = type(message).__name__
    lines = EXPECTED[sender].replace("\\\n", " ").strip().splitlines()
    rows = {row.split()[0]: row.split()[1:] for row in lines}
    following = dict(cell.split(":") for cell in rows[own.name]).get(event)
    if following is None:
        return None
    if sender is Role.WORKER:
        return StatePair(states.supervisor, WorkerState[following])
    worker = states.worker.name
    if event in {name for name, _state in EXPECTED_PEER_EVENTS}:
        moved = EXPECTED_PEER_EVENTS.get((event, worker))
        if moved is None:
            return None
        worker = moved
    return StatePair(SupervisorState[following], WorkerState[worker])


def describe(value: object) -> str:
    """An identifier of a test."""
    if isinstance(value, StatePair):
        return f"{value.supervisor.name}-{value.worker.name}"
    return value.value if isinstance(value, Role) else type(value).__name__


def connection_in(states: StatePair, role: Role, message: Message) -> Connection:
    """A connection put into states, of a worker that is kept, with a call open that the message may be about."""
    connection = Connection(role)
    connection._states = states
    connection._keep = True
    return connection if isinstance(message, Ready) else with_open_call(connection)


def test_the_tables_have_a_row_for_every_state() -> None:
    """And each names only messages that its sender has."""
    assert list(TRANSITIONS[Role.SUPERVISOR]) == list(SupervisorState)
    assert list(TRANSITIONS[Role.WORKER]) == list(WorkerState)
    for role, rows in TRANSITIONS.items():
        own = {type(message) for message in EXAMPLES[role]}
        assert set().union(*rows.values()) == own
    assert set(PEER_EVENTS) <= {type(message) for message in EXAMPLES[Role.SUPERVISOR]}


@pytest.mark.parametrize(("sender", "message"), SENT + FOREIGN, ids=describe)
@pytest.mark.parametrize("states", PAIRS, ids=describe)
def test_every_pair_of_states_and_every_message(states: StatePair, sender: Role, message: Message) -> None:
    """The whole product: legal moves lead where they should, illegal ones raise and change nothing."""
    expected = legal_after(states, sender, message)
    ours, theirs = connection_in(states, sender, message), connection_in(states, PEER[sender], message)
    if expected is not None:
        assert advance(states, sender, type(message)) == expected
        theirs.receive_data(ours.send(message))
        assert theirs.next_message() == message
        assert ours._states == theirs._states == expected
        return
    before = ours.send_window, ours.receive_window
    with pytest.raises(LocalProtocolError, match="is illegal while"):
        advance(states, sender, type(message))
    with pytest.raises(LocalProtocolError, match="is illegal while"):
        ours.send(message)
    assert ours._states == states
    assert (ours.send_window, ours.receive_window) == before
    if (sender, message) in SENT:
        windows = theirs.send_window, theirs.receive_window
        theirs.receive_data(forced_frame(sender, message))
        with pytest.raises(RemoteProtocolError, match="is illegal while"):
            theirs.next_message()
        assert theirs._states == states
        assert (theirs.send_window, theirs.receive_window) == windows


def forced_frame(sender: Role, message: Message) -> bytes:
    """The bytes of a message from a peer that does not care about states."""
    ways: dict[type[Message], StatePair] = {
        type(legal): states
        for states in PAIRS
        for legal in EXAMPLES[sender]
        if legal_after(states, sender, legal) is not None
    }
    return connection_in(ways[type(message)], sender, message).send(message)


def reachable() -> dict[StatePair, list[tuple[Role, Message]]]:
    """Every pair of states that a conversation can reach, with a shortest conversation that does."""
    ways: dict[StatePair, list[tuple[Role, Message]]] = {START: []}
    waiting = [START]
    for states in waiting:
        for sender, message in SENT:
            after = legal_after(states, sender, message)
            if after is not None and after not in ways:
                ways[after] = [*ways[states], (sender, message)]
                waiting.append(after)
    return ways


REACHABLE = reachable()


@pytest.mark.parametrize("states", REACHABLE, ids=describe)
def test_both_ends_agree_in_every_reachable_pair_of_states(states: StatePair) -> None:
    """By real conversations: a message is legal for its sender exactly if it is for its receiver."""
    for sender, message in SENT:
        pair = ConnectionPair()
        pair.walk(REACHABLE[states])
        for end in pair.ends.values():
            if not isinstance(message, Ready):
                with_open_call(end)
        assert pair.ends[sender]._states == states
        expected = legal_after(states, sender, message)
        if expected is not None:
            assert pair.move(sender, message) == message
            assert pair.ends[sender]._states == expected
            continue
        with pytest.raises(LocalProtocolError):
            pair.ends[sender].send(message)
        pair.check_agreement()


def test_every_state_can_be_reached() -> None:
    """No state is there in vain, and the ends that a conversation may take are ends."""
    assert {states.supervisor for states in REACHABLE} == set(SupervisorState)
    assert {states.worker for states in REACHABLE} == set(WorkerState)
    assert not TRANSITIONS[Role.SUPERVISOR][SupervisorState.CANCELLED]
    assert not TRANSITIONS[Role.WORKER][WorkerState.FAILED]


def test_a_worker_may_fail_before_it_reads_what_it_was_asked() -> None:
    """INVOKE may cross with an ERROR: neither end takes that for a violation."""
    supervisor, worker = Connection(Role.SUPERVISOR), Connection(Role.WORKER)
    invoke = EXAMPLES[Role.SUPERVISOR][0]
    ready, error = (EXAMPLES[Role.WORKER][index] for index in (0, 4))
    supervisor.receive_data(worker.send(ready))
    assert supervisor.next_message() == ready
    asked, failed = supervisor.send(invoke), worker.send(error)
    worker.receive_data(asked)
    assert worker.next_message() == invoke
    assert worker.our_state is WorkerState.FAILED
    supervisor.receive_data(failed)
    assert supervisor.next_message() == error
    assert supervisor.their_state is WorkerState.FAILED
