"""The table of reverse calls: both ends agree, whatever crosses, and what is illegal changes nothing."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.calls import CallMessage, CallTable
from protocol.errors import LocalProtocolError
from protocol.limits import INITIAL_CALL_CREDIT, MAX_CALL_BYTES, MAX_DATA, MAX_OPEN_CALLS
from protocol.states import Role

S, W = Role.SUPERVISOR, Role.WORKER


def end(call_id: int, kind: str = "end") -> CallResult:
    """The end of an answer."""
    return CallResult(call_id, kind, b"", more=False)


def facts(table: CallTable) -> dict[int, tuple[object, ...]]:
    """All that a table knows."""
    return {
        call_id: tuple(getattr(call, name) for name in type(call).__slots__) for call_id, call in table._open.items()
    }


def test_a_call_from_beginning_to_end() -> None:
    """It is open until both halves have ended, whichever comes first."""
    table = CallTable()
    assert table.next_id == 0
    table.apply(W, Call(5, "llm", 3, b"a"))
    assert (table.count, table.next_id) == (1, 6)
    table.apply(W, CallData(5, b"bc"))
    call = table.find(5)
    assert call is not None
    assert (call.unsent, call.request_window) == (0, INITIAL_CALL_CREDIT - 3)
    table.apply(S, CallResult(5, "response", b"x", more=True))
    table.apply(S, CallResult(5, "response", b"y", more=False))
    assert call.answer_window == INITIAL_CALL_CREDIT - 2
    table.apply(W, CallCredit(5, 2))
    assert call.answer_window == INITIAL_CALL_CREDIT
    table.apply(S, end(5))
    assert table.find(5) is None

    table.apply(W, Call(6, "llm", 3, b"a"))
    table.apply(S, end(6, "error"))
    assert table.count == 1
    table.apply(W, CallData(6, b"b"))
    table.apply(W, CallCancel(6))
    assert table.count == 0


def test_windows_of_calls_are_their_own() -> None:
    """An answer that nobody reads holds up no other one."""
    table = CallTable()
    for call_id in (0, 1):
        table.apply(W, Call(call_id, "llm", 1, b"x"))
    for _ in range(INITIAL_CALL_CREDIT // MAX_DATA):
        table.apply(S, CallResult(0, "response", bytes(MAX_DATA), more=False))
    with pytest.raises(LocalProtocolError, match="the credit is 0"):
        table.apply(S, CallResult(0, "response", b"x", more=False))
    table.apply(S, CallResult(1, "response", b"x", more=False))
    table.apply(S, end(0, "error"))


def test_an_item_is_bounded() -> None:
    """However it is cut."""
    table = CallTable()
    table.apply(W, Call(0, "llm", 1, b"x"))
    table.apply(W, CallCredit(0, MAX_CALL_BYTES - INITIAL_CALL_CREDIT))
    for _ in range(MAX_CALL_BYTES // MAX_DATA):
        table.apply(S, CallResult(0, "response", bytes(MAX_DATA), more=True))
    table.apply(W, CallCredit(0, 1))
    with pytest.raises(LocalProtocolError, match="an item of more than"):
        table.apply(S, CallResult(0, "response", b"x", more=False))


class Crossing(RuleBasedStateMachine):
    """Two ends with messages under way both ways: what is legal for its sender is legal for its receiver.

    Each side acts on what it knows, which is behind. Messages of one direction stay in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tables = {role: CallTable() for role in Role}
        self.under_way: dict[Role, deque[CallMessage]] = {role: deque() for role in Role}

    def send(self, sender: Role, message: CallMessage) -> None:
        """Send a message, if its sender may; an illegal one changes nothing."""
        before = facts(self.tables[sender])
        try:
            self.tables[sender].apply(sender, message)
        except LocalProtocolError:
            assert facts(self.tables[sender]) == before
        else:
            self.under_way[sender].append(message)

    @rule(kind=st.sampled_from(["llm", "storage"]), size=st.integers(1, 200_000), first=st.integers(0, MAX_DATA))
    def call(self, kind: str, size: int, first: int) -> None:
        """The worker makes a call."""
        self.send(W, Call(self.tables[W].next_id, kind, size, bytes(min(first, size))))

    @rule(call_id=st.integers(0, 6), size=st.integers(1, MAX_DATA))
    def data(self, call_id: int, size: int) -> None:
        """The worker goes on with one, whether it may or not."""
        self.send(W, CallData(call_id, bytes(size)))

    @rule(call_id=st.integers(0, 6))
    def cancel(self, call_id: int) -> None:
        """The worker gives one up."""
        self.send(W, CallCancel(call_id))

    @rule(call_id=st.integers(0, 6), amount=st.integers(1, MAX_CALL_BYTES), sender=st.sampled_from(Role))
    def credit(self, call_id: int, amount: int, sender: Role) -> None:
        """Either side grants credit."""
        self.send(sender, CallCredit(call_id, amount))

    @rule(call_id=st.integers(0, 6), size=st.integers(1, MAX_DATA), more=st.booleans())
    def respond(self, call_id: int, size: int, more: bool) -> None:  # noqa: FBT001
        """The supervisor sends a piece of an item."""
        self.send(S, CallResult(call_id, "response", bytes(size), more=more))

    @rule(call_id=st.integers(0, 6), kind=st.sampled_from(["end", "error"]))
    def finish(self, call_id: int, kind: str) -> None:
        """The supervisor ends an answer."""
        self.send(S, end(call_id, kind))

    @precondition(lambda self: any(self.under_way.values()))
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A message arrives, and is legal."""
        sender = data.draw(st.sampled_from([role for role in Role if self.under_way[role]]))
        receiver = S if sender is W else W
        self.tables[receiver].apply(sender, self.under_way[sender].popleft())

    @invariant()
    def bounded(self) -> None:
        """Neither side keeps more calls than there may be, and no window is out of its range."""
        for table in self.tables.values():
            assert table.count <= MAX_OPEN_CALLS
            for call_id in range(table.next_id):
                call = table.find(call_id)
                if call is not None:
                    assert 0 <= call.request_window <= MAX_CALL_BYTES
                    assert 0 <= call.answer_window <= MAX_CALL_BYTES
                    assert not call.over

    def teardown(self) -> None:
        """When all has arrived, both sides know the same."""
        for sender in Role:
            receiver = S if sender is W else W
            while self.under_way[sender]:
                self.tables[receiver].apply(sender, self.under_way[sender].popleft())
        assert facts(self.tables[S]) == facts(self.tables[W])


TestCrossing = Crossing.TestCase
TestCrossing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(1, 5), max_size=300))
def test_forgotten_calls_leave_nothing(sizes: list[int]) -> None:
    """However many there were."""
    table = CallTable()
    for size in sizes:
        call_id = table.next_id
        table.apply(W, Call(call_id, "k", size, bytes(size)))
        table.apply(S, end(call_id))
        table.apply(W, CallCredit(call_id, 1))
        table.apply(W, CallCancel(call_id))
    assert table.count == 0
    assert table.next_id == len(sizes)
