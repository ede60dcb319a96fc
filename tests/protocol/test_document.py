"""`docs/protocol.md` says what the code does: its tables, its fields, its words and its bytes."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from protocol import limits
from protocol.call_messages import CALL_RESULT_KINDS, Call
from protocol.codec import TYPES, encode_message
from protocol.control import CONTROL_TYPES, ForkSlot, Kill, PrepareWorker, encode_control
from protocol.frames import PREFACE
from protocol.messages import (
    ERROR_CODES,
    LOG_LEVELS,
    VALUE_KINDS,
    Body,
    BodyEnd,
    Response,
)
from protocol.states import Role, SupervisorState, WorkerState
from tests.protocol.tables import DOCUMENT, render, wire_name

TEXT = DOCUMENT.read_text()
KINDS = [row.message for rows in TYPES.values() for row in rows.values()] + [*CONTROL_TYPES.values()]


def section(title: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_the_tables_are_those_of_the_code() -> None:
    """Run `python -m tests.protocol.tables` after a change of the code."""
    assert render(TEXT) == TEXT


def test_a_missing_place_for_a_table_is_noticed() -> None:
    """A document without one of the comments is refused."""
    with pytest.raises(ValueError, match="0 places"):
        render("")


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS), ids=lambda kind: kind.__name__)
def test_every_message_has_a_section_with_its_fields(kind: type) -> None:
    """In the order in which they are sent."""
    _head, _line, table = section(wire_name(kind.__name__)).partition(
        "| field | type | meaning |\n| --- | --- | --- |\n"
    )
    rows = re.findall(r"^\| ([a-z_]+) \|", table.split("\n\n")[0], re.MULTILINE)
    assert rows == [field.name for field in fields(kind)]


@pytest.mark.parametrize(
    ("title", "words"),
    [("INVOKE", VALUE_KINDS), ("ERROR", ERROR_CODES), ("LOG", LOG_LEVELS), ("CALL_RESULT", CALL_RESULT_KINDS)],
)
def test_every_word_of_a_closed_list_is_explained(title: str, words: frozenset[str]) -> None:
    """Each stands in the section of its message, as code."""
    for word in words:
        assert f"`{word}`" in section(title)


def test_the_bytes_are_those_of_the_code() -> None:
    """The examples in hexadecimal."""
    examples = {
        "BODY": encode_message(Role.SUPERVISOR, Body(b"hi")),
        "BODY_END": encode_message(Role.SUPERVISOR, BodyEnd()),
        "RESPONSE": encode_message(Role.WORKER, Response(200, ((b"A", b"b"),))),
        "CALL": encode_message(Role.WORKER, Call(7, "llm", 4, b"hi")),
        "Control datagrams": encode_control(Kill(300)),
        "PREPARE_WORKER": encode_control(PrepareWorker(sources=("a.py",), limits={"m": 9}, debug=False)),
        "FORK_SLOT": encode_control(ForkSlot(7, "s", 3, ())),
    }
    for title, data in examples.items():
        assert data.hex(" ") in re.sub(" +", " ", section(title))
    assert PREFACE == b"EEP\x05"
    assert "Version 5." in TEXT


def test_every_state_and_every_limit_that_is_named_exists() -> None:
    """And every state is drawn."""
    assert set(re.findall(r"`((?:MAX|INITIAL)_\w+)`", TEXT)) == set(limits.__all__)
    drawing = section("States").split("```text")[1]
    for state in (*SupervisorState, *WorkerState):
        assert state.name in drawing
