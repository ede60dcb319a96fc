"""The bridge to the real SDK, with the few lines of it that every version has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.worker.played_calls import PlayedCalls
from worker.bridge import SdkReader, SdkWriter
from worker.calls import CallError


class Event(Enum):
    """The SDK's `PluginInStreamEvent`."""

    Request = "request"
    BackwardInvocationResponse = "backwards_response"


@pytest.fixture(autouse=True)
def sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one module of the SDK that the bridge itself needs."""
    module = ModuleType("dify_plugin.core.entities.plugin.io")
    module.PluginInStreamEvent = Event  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dify_plugin.core.entities.plugin.io", module)


class Session:
    """What the SDK does with its session's reader and writer to make a call."""

    def __init__(self, calls: PlayedCalls) -> None:
        self.writer = SdkWriter(calls)
        self.reader: Any = SdkReader(self.writer)

    def ask(self, kind: str, identifier: str, request: dict[str, Any]) -> None:
        """Write a call."""
        data = {"type": kind, "backwards_request_id": identifier, "request": request}
        self.writer.session_message(session_id="s", data=self.writer.stream_invoke_object(data=data))

    def events(self, identifier: str) -> Iterator[dict[str, Any] | None]:
        """Read its events, as the SDK picks them."""

        def pick(event: Any) -> bool:
            matches: bool = event.data.get("backwards_request_id") == identifier
            return event.event is Event.BackwardInvocationResponse and matches

        with self.reader.read(pick) as events:
            for event in events.read(timeout_for_round=1):
                yield None if event is None else event.data


def test_calls_and_answers() -> None:
    """Each reader gets the events of its own call, in the form that the SDK validates."""
    calls = PlayedCalls([{"n": 1}, None, {"n": 2}], [{"n": 3}])
    session = Session(calls)
    session.ask("app", "one", {"a": 1})
    session.ask("app", "two", {"a": 2})
    assert [event["data"] for event in session.events("two") if event] == [{"n": 3}, None]
    events = list(session.events("one"))
    assert events[0] == {"backwards_request_id": "one", "event": "response", "message": "", "data": {"n": 1}}
    assert events[1] is None
    assert [event["event"] for event in events if event] == ["response", "response", "end"]
    assert calls.made == [("app", {"a": 1}), ("app", {"a": 2})]
    assert session.writer.unread == {}


def test_errors_are_events() -> None:
    """Also those of calls that could not be made: the SDK raises what it reads."""
    session = Session(PlayedCalls([{"n": 1}, CallError("tired")]))
    session.ask("app", "one", {})
    session.ask("app", "two", {})
    assert [event["event"] for event in session.events("one") if event] == ["response", "error", "end"]
    (error, end) = session.events("two")
    assert error is not None
    assert (error["event"], error["message"]) == ("error", "app: nobody is there")
    assert end is not None


def test_bytes_are_text_for_the_sdk() -> None:
    """Hexadecimal on its side, bytes on ours."""
    calls = PlayedCalls([{"data": b"\xff"}], [{"result": "text"}])
    session = Session(calls)
    session.ask("storage", "one", {"opt": "set", "key": "k", "value": "00ff"})
    session.ask("speech2text", "two", {"file": b"6162"})
    session.ask("storage", "three", {"opt": "set", "key": "k", "value": "xy"})
    assert next(session.events("one"))["data"] == {"data": "ff"}  # type: ignore[index]
    assert calls.made == [
        ("storage", {"opt": "set", "key": "k", "value": b"\x00\xff"}),
        ("speech2text", {"file": b"ab"}),
    ]
    assert "not hexadecimal" in next(session.events("three"))["message"]  # type: ignore[index]


def test_whoever_stops_reading_ends_the_call() -> None:
    """As the SDK does when its generator is closed."""
    calls = PlayedCalls([{"n": 1}, {"n": 2}])
    session = Session(calls)
    session.ask("app", "one", {})
    events = session.events("one")
    next(events)
    events.close()  # type: ignore[attr-defined]  # a generator
    assert calls.calls[0].over


def test_what_is_not_there() -> None:
    """Says why; and is not taken for something else by those who look."""
    session = Session(PlayedCalls())
    with pytest.raises(CallError, match="no call was made"):
        session.reader.read(lambda event: False)  # noqa: ARG005
    with pytest.raises(RuntimeError, match=r"writer\.write: an endpoint's answer is what it returns"):
        session.writer.write("x")
    with pytest.raises(RuntimeError, match="only answers to reverse calls"):
        session.reader.event_loop()
    assert not hasattr(session.reader, "__len__")
    model = SimpleNamespace(model_dump=lambda: {"data": {"type": "app", "backwards_request_id": "x", "request": {}}})
    session.writer.session_message("s", model)
    assert list(session.writer.unread) == ["x"]
