"""Draws the tables of `docs/protocol.md` from the code: `python -m tests.protocol.tables` puts them in."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol import limits
from protocol.codec import TYPES
from protocol.control import CONTROL_TYPES
from protocol.states import PEER_EVENTS, TRANSITIONS, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "protocol.md"
_BLOCK: Final = r"(<!-- table: {name} -->\n).*?(<!-- end -->)"


def wire_name(name: str) -> str:
    """The name of a message as the document writes it: BodyEnd is BODY_END."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def draw(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw_messages(role: Role) -> str:
    """Type bytes, messages and frame limits of a sender."""
    return draw(
        ("type", "message", "fields", "largest payload"),
        (
            (
                f"`0x{code:02x}`",
                wire_name(row.message.__name__),
                ", ".join(field.name for field in fields(row.message)) or "none",
                f"{row.limit_bytes}",
            )
            for code, row in TYPES[role].items()
        ),
    )


def draw_control() -> str:
    """Types and messages of control datagrams."""
    return draw(
        ("type", "message", "fields"),
        (
            (f"`0x{code:02x}`", wire_name(kind.__name__), ", ".join(field.name for field in fields(kind)) or "none")
            for code, kind in CONTROL_TYPES.items()
        ),
    )


def draw_states(role: Role) -> str:
    """The transitions of a sender: a row for each state, a column for each message."""
    messages = [row.message for row in TYPES[role].values()]
    return draw(
        ("state", *(wire_name(message.__name__) for message in messages)),
        (
            (f"**{state.name}**", *(row[message].name if message in row else "" for message in messages))
            for state, row in TRANSITIONS[role].items()
        ),
    )


def draw_peer_events() -> str:
    """How messages of the supervisor move the worker."""
    events = list(PEER_EVENTS)
    return draw(
        ("worker's state", *(wire_name(event.__name__) for event in events)),
        (
            (f"**{state.name}**", *(_target(PEER_EVENTS[event].get(state)) for event in events))  # type: ignore[arg-type]
            for state in TRANSITIONS[Role.WORKER]
        ),
    )


def _target(state: object) -> str:
    return getattr(state, "name", "")


def draw_limits() -> str:
    """Every limit with its value and its meaning."""
    body = ast.parse(Path(limits.__file__).read_text()).body
    meanings = {}
    for statement, following in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            meanings[ast.unparse(statement.target)] = str(ast.literal_eval(following.value))
    return draw(
        ("limit", "value", "meaning"),
        ((f"`{name}`", str(getattr(limits, name)), meaning) for name, meaning in meanings.items()),
    )


def tables() -> dict[str, str]:
    """Every table by its name in the document."""
    return {
        "supervisor messages": draw_messages(Role.SUPERVISOR),
        "worker messages": draw_messages(Role.WORKER),
        "supervisor states": draw_states(Role.SUPERVISOR),
        "worker states": draw_states(Role.WORKER),
        "peer events": draw_peer_events(),
        "limits": draw_limits(),
        "control": draw_control(),
    }


def render(document: str) -> str:
    """The document with its tables drawn anew."""
    for name, table in tables().items():
        places = list(re.finditer(_BLOCK.format(name=re.escape(name)), document, re.DOTALL))
        if len(places) != 1:
            raise ValueError(f"{len(places)} places for the table {name!r}, expected 1")
        document = document[: places[0].end(1)] + table + document[places[0].start(2) :]
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text()))
