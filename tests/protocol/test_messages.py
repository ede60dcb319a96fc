"""Messages: every field, its types, its range, at its limit and one beyond."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import TYPE_CHECKING

import pytest

from protocol import limits
from protocol.call_messages import Call, CallCancel, CallCredit, CallData, CallResult
from protocol.errors import LocalProtocolError
from protocol.messages import (
    ERROR_CODES,
    LOG_LEVELS,
    VALUE_KINDS,
    Body,
    Cancel,
    Chunk,
    Credit,
    Error,
    Log,
    Message,
    Response,
)
from tests.protocol.support import EXAMPLES, INVOKE, changed

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = tuple({type(message): message for messages in EXAMPLES.values() for message in messages}.values())
RESPONSE = Response(200, ())
ERROR, LOG = Error("raised", "", ""), Log(1.0, "info", "", "")
CALL, RESULT = Call(1, "k", 1, b""), CallResult(1, "response", b"x", more=False)
MIB = 2**20


def sized(count: int) -> list[str]:
    """Plain data of about that many bytes, all of them text, and one list around it."""
    return ["a" * (count - 6)]


LEGAL: list[tuple[Message, str, list[object]]] = [
    (INVOKE, "invocation_id", ["a", "a" * limits.MAX_WORD]),
    (INVOKE, "source", ["a", "a" * limits.MAX_PATH]),
    (INVOKE, "method", ["GET", "M-SEARCH", "a" * limits.MAX_WORD]),
    (INVOKE, "scheme", ["https", "a" * limits.MAX_WORD]),
    (INVOKE, "server_name", ["", "::1", "a" * limits.MAX_NAME]),
    (INVOKE, "server_port", [0, 65535]),
    (INVOKE, "root_path", ["", "a" * limits.MAX_URL_PART]),
    (INVOKE, "path", ["", "/\0é", "a" * limits.MAX_URL_PART]),
    (INVOKE, "query", [b"", b"a" * limits.MAX_URL_PART]),
    (INVOKE, "http_version", ["2", "a" * limits.MAX_WORD]),
    (INVOKE, "headers", [(), ((b"A", b""),) * limits.MAX_HEADERS]),
    (INVOKE, "remote_addr", [None, "", "a" * limits.MAX_NAME]),
    (INVOKE, "values", [(), (("a", "float", float("nan")),), (("a", "str", ""),) * limits.MAX_PATH_VALUES]),
    (INVOKE, "values", [(("a" * limits.MAX_NAME, "int", "1" * limits.MAX_URL_PART),)]),
    (INVOKE, "settings", [{}, {"a": sized(limits.MAX_SETTINGS_BYTES - 3)}]),
    (INVOKE, "hook_id", ["a", "a" * limits.MAX_NAME]),
    (INVOKE, "content_length", [None, 0, limits.MAX_ID]),
    (INVOKE, "has_body", [True, False]),
    (INVOKE, "after_response_s", [0.0, 0.25, 86_400.0]),
    (INVOKE, "keep", [True, False]),
    (INVOKE, "debug", [True, False]),
    (Body(b"a"), "data", [b"a", bytes(limits.MAX_DATA)]),
    (Credit(1), "amount", [1, limits.MAX_CREDIT]),
    (RESULT, "call_id", [0, limits.MAX_ID]),
    (RESULT, "kind", ["response", "error"]),
    (RESULT, "data", [b"x", bytes(limits.MAX_DATA)]),
    (RESULT, "more", [True, False]),
    (CallResult(1, "error", b"", more=False), "data", [b"", bytes(limits.MAX_ERROR_TEXT)]),
    (CallCredit(1, 1), "call_id", [0, limits.MAX_ID]),
    (CallCredit(1, 1), "amount", [1, limits.MAX_CALL_BYTES]),
    (CallData(1, b"x"), "call_id", [0, limits.MAX_ID]),
    (CallData(1, b"x"), "data", [b"x", bytes(limits.MAX_DATA)]),
    (CallCancel(1), "call_id", [0, limits.MAX_ID]),
    (Cancel(""), "reason", ["", "a" * limits.MAX_NAME]),
    (RESPONSE, "status", [200, 599]),
    (RESPONSE, "headers", [(), ((b"A", b"\xff"),) * limits.MAX_HEADERS]),
    (Chunk(b"a"), "data", [b"a", bytes(limits.MAX_DATA)]),
    (ERROR, "code", [*ERROR_CODES]),
    (ERROR, "message", ["", "a" * limits.MAX_ERROR_TEXT]),
    (ERROR, "traceback", ["", "é" * (limits.MAX_ERROR_TEXT // 2)]),
    (LOG, "time", [0.0, 1.5, 2.0**40]),
    (LOG, "level", [*LOG_LEVELS]),
    (LOG, "logger", ["", "a" * limits.MAX_LOGGER_NAME]),
    (LOG, "message", ["", "\0\x1b", "a" * limits.MAX_LOG_MESSAGE]),
    (CALL, "call_id", [0, limits.MAX_ID]),
    (CALL, "kind", ["a", "llm.invoke", "a" * limits.MAX_WORD]),
    (CALL, "size", [1, limits.MAX_CALL_BYTES]),
    (CALL, "data", [b"", b"x"]),
    (Call(1, "k", limits.MAX_CALL_BYTES, b""), "data", [bytes(limits.MAX_DATA)]),
]

ILLEGAL: list[tuple[Message, str, list[object]]] = [
    (INVOKE, "invocation_id", ["", 1, "a" * (limits.MAX_WORD + 1)]),
    (INVOKE, "source", ["", None, "a" * (limits.MAX_PATH + 1)]),
    (INVOKE, "method", ["", "G T", b"GET", "É", "a" * (limits.MAX_WORD + 1)]),
    (INVOKE, "scheme", ["", None, "a" * (limits.MAX_WORD + 1)]),
    (INVOKE, "server_name", [None, b"", "\udc80", "a" * (limits.MAX_NAME + 1)]),
    (INVOKE, "server_port", [-1, 65536, True, 80.0, "80", None]),
    (INVOKE, "root_path", [None, "a" * (limits.MAX_URL_PART + 1)]),
    (INVOKE, "path", [None, b"/", "\udce9", "a" * (limits.MAX_URL_PART + 1)]),
    (INVOKE, "query", ["", None, b"a" * (limits.MAX_URL_PART + 1)]),
    (INVOKE, "http_version", ["", 1.1, "a" * (limits.MAX_WORD + 1)]),
    (INVOKE, "headers", [[], ((b"A", b""),) * (limits.MAX_HEADERS + 1), ((b"a", b"\n"),)]),
    (INVOKE, "remote_addr", [b"", 1, "a" * (limits.MAX_NAME + 1)]),
    (INVOKE, "values", [[], None, (("a", "str"),), (["a", "str", "b"],), (("", "str", "b"),), ((1, "str", "b"),)]),
    (INVOKE, "values", [(("a", "bytes", "b"),), (("a", "str", 1),), (("a", "int", 1),), (("a", "float", "1"),)]),
    (INVOKE, "values", [(("a", [], "b"),), (("a", "float", 1),), (("a", "str", ""),) * (limits.MAX_PATH_VALUES + 1)]),
    (INVOKE, "values", [(("a" * (limits.MAX_NAME + 1), "int", "1"),)]),
    (INVOKE, "values", [(("a", "str", "é" * (limits.MAX_URL_PART // 2)), ("b", "str", "x"))]),
    (INVOKE, "settings", [None, [], {"a": object()}, {"a": (1,)}, {"a": sized(limits.MAX_SETTINGS_BYTES - 2)}]),
    (INVOKE, "hook_id", ["", None, "a" * (limits.MAX_NAME + 1)]),
    (INVOKE, "content_length", [-1, True, 1.0, "1", limits.MAX_ID + 1]),
    (INVOKE, "has_body", [None, 1, "yes"]),
    (INVOKE, "keep", [None, 1, "yes"]),
    (INVOKE, "after_response_s", [None, 1, -0.1, 86_400.1, float("nan"), float("inf"), "1"]),
    (INVOKE, "debug", [None, 0]),
    (Body(b"a"), "data", [b"", "a", bytearray(b"a"), bytes(limits.MAX_DATA + 1)]),
    (Credit(1), "amount", [0, -1, True, 1.0, limits.MAX_CREDIT + 1]),
    (RESULT, "call_id", [-1, True, None, limits.MAX_ID + 1]),
    (RESULT, "kind", ["", "other", None, [1]]),
    (RESULT, "data", [b"", "x", None, bytearray(b"x"), bytes(limits.MAX_DATA + 1)]),
    (RESULT, "more", [None, 1]),
    (CallResult(1, "error", b"", more=False), "data", ["", bytes(limits.MAX_ERROR_TEXT + 1)]),
    (CallResult(1, "error", b"", more=False), "more", [True]),
    (CallResult(1, "end", b"", more=False), "data", [b"x"]),
    (CallResult(1, "end", b"", more=False), "more", [True]),
    (CallCredit(1, 1), "call_id", [-1, None]),
    (CallCredit(1, 1), "amount", [0, True, limits.MAX_CALL_BYTES + 1]),
    (CallData(1, b"x"), "call_id", [-1, True]),
    (CallData(1, b"x"), "data", [b"", "x", bytes(limits.MAX_DATA + 1)]),
    (CallCancel(1), "call_id", [-1, None, limits.MAX_ID + 1]),
    (Cancel(""), "reason", [None, b"", "a" * (limits.MAX_NAME + 1)]),
    (RESPONSE, "status", [199, 600, 100, True, 200.0, "200"]),
    (RESPONSE, "headers", [None, ((b"A", b"\xff"),) * (limits.MAX_HEADERS + 1)]),
    (Chunk(b"a"), "data", [b"", "a", memoryview(b"a"), bytes(limits.MAX_DATA + 1)]),
    (ERROR, "code", ["", "other", None]),
    (ERROR, "message", [None, b"", "\ud800", "a" * (limits.MAX_ERROR_TEXT + 1)]),
    (ERROR, "traceback", [None, "é" * (limits.MAX_ERROR_TEXT // 2 + 1)]),
    (LOG, "time", [1, -0.5, 2.0**41, float("nan"), float("inf"), "1"]),
    (LOG, "level", ["", "INFO", 20]),
    (LOG, "logger", [None, "a" * (limits.MAX_LOGGER_NAME + 1)]),
    (LOG, "message", [None, b"", "\ud800", "a" * (limits.MAX_LOG_MESSAGE + 1)]),
    (CALL, "call_id", [-1, False, "1", limits.MAX_ID + 1]),
    (CALL, "kind", ["", "a b", None, "a" * (limits.MAX_WORD + 1)]),
    (CALL, "size", [0, -1, True, None, limits.MAX_CALL_BYTES + 1]),
    (CALL, "data", [None, "x", b"xx"]),
    (Call(1, "k", limits.MAX_CALL_BYTES, b""), "data", [bytes(limits.MAX_DATA + 1)]),
]


def cases(table: list[tuple[Message, str, list[object]]]) -> list[object]:
    """One test for each value."""
    return [
        pytest.param(message, field, value, id=f"{type(message).__name__}.{field}-{line}-{index}")
        for line, (message, field, values) in enumerate(table)
        for index, value in enumerate(values)
    ]


@pytest.mark.parametrize(("message", "field", "value"), cases(LEGAL))
def test_legal_values(message: Message, field: str, value: object) -> None:
    """Every field takes what is allowed, the limit included."""
    assert getattr(changed(message, **{field: value}), field) is value


@pytest.mark.parametrize(("message", "field", "value"), cases(ILLEGAL))
def test_illegal_values(message: Message, field: str, value: object) -> None:
    """Every field refuses other types and what lies beyond its limit, and says which field it is."""
    with pytest.raises(LocalProtocolError, match=f"^{field}") as caught:
        changed(message, **{field: value})
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 200


def test_every_field_is_tested() -> None:
    """Both tables name every field of every message."""
    every = {(type(message), field.name) for message in ALL for field in fields(message)}
    for table in (LEGAL, ILLEGAL):
        assert {(type(message), field) for message, field, _values in table} == every


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_messages_are_frozen_and_slotted(message: Message) -> None:
    """A message cannot change after it was checked, nor carry anything else."""
    assert not hasattr(message, "__dict__")
    for field in fields(message):
        with pytest.raises(FrozenInstanceError):
            setattr(message, field.name, None)


def test_every_kind_of_path_value_is_legal() -> None:
    """The closed list of kinds, each with a value of its type."""
    values = tuple((kind, kind, 1.0 if kind == "float" else "1") for kind in sorted(VALUE_KINDS))
    assert getattr(changed(INVOKE, values=values), "values") == values  # noqa: B009 - the union has no such field


def test_the_long_message_takes_keywords_only() -> None:
    """Eighteen positions would be too easy to confuse."""
    values = [getattr(INVOKE, field.name) for field in fields(INVOKE)]
    kind: Callable[..., Message] = type(INVOKE)
    with pytest.raises(TypeError):
        kind(*values)
