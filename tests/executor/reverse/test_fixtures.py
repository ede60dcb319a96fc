"""Fixtures: what fits, what is filled in, the forms of texts, and mistakes with file and line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.config.places import ConfigError
from executor.reverse.call import CallFailedError
from executor.reverse.fixtures import FixturesTarget, fill, fits
from executor.reverse.fixtures_file import load_fixtures
from tests.executor.reverse.targets.support import collect, make_call
from tests.protocol import strategies

REQUESTS: dict[str, dict[str, object]] = {
    "app": {"app_id": "a", "query": "hi", "inputs": {"x": {"y": [1]}}, "response_mode": "blocking"},
    "workflow": {"app_id": "w", "inputs": {}, "response_mode": "streaming"},
    "llm": {"provider": "p", "model": "gpt-4", "prompt_messages": []},
}


def ask(tmp_path: Path, text: str, kind: str = "app", **request: object) -> list[Any]:
    """The items of an answer."""
    file = tmp_path / "fixtures.yaml"
    file.write_text(text)
    target = FixturesTarget(load_fixtures(file), "fixtures.yaml")
    return asyncio.run(collect(target, make_call(kind, request or REQUESTS[kind])))


def test_the_first_that_fits_answers(tmp_path: Path) -> None:
    """Patterns in texts, maps in part, everything else as it is."""
    text = """
calls:
  - {call: llm, answer: {n: 0}}
  - {call: app, when: {app_id: b}, answer: {n: 1}}
  - {call: app, when: {missing: "*"}, answer: {n: 2}}
  - {call: app, when: {query: "h?", inputs: {x: {y: [1]}}}, answer: {n: 3}}
  - {call: app, answer: {n: 4}}
"""
    assert ask(tmp_path, text) == [{"n": 3}]
    assert ask(tmp_path, text, app_id="a", query="hi", inputs={"x": {"y": [1, 2]}}) == [{"n": 4}]


def test_without_one_that_fits_the_call_fails(tmp_path: Path) -> None:
    """With what was asked, but no content."""
    with pytest.raises(CallFailedError, match=r"llm: no fixture in fixtures.yaml fits .* provider='p', model='gpt-4'"):
        ask(tmp_path, "calls: [{call: app, text: x}]", "llm")


def test_streams_errors_and_delays(tmp_path: Path) -> None:
    """Items first, then the error."""
    assert ask(tmp_path, "calls: [{call: app, stream: [{a: 1}, {b: '${query}'}], delay: 1ms}]") == [
        {"a": 1},
        {"b": "hi"},
    ]
    with pytest.raises(CallFailedError, match=r"^no hi today$"):
        ask(tmp_path, "calls: [{call: app, error: 'no ${query} today'}]")


def test_forms_of_a_text(tmp_path: Path) -> None:
    """Whatever the call wants: one answer, or a stream of words and an end."""
    text = "calls: [{call: app, text: 'one two'}, {call: llm, text: 'one two'}]"
    assert ask(tmp_path, text)[0]["answer"] == "one two"
    events = ask(tmp_path, text, app_id="a", query="q", inputs={}, response_mode="streaming")
    assert [event.get("answer") for event in events] == ["one", " two", None]
    events = ask(tmp_path, text, app_id="w", inputs={}, response_mode="streaming")
    assert events[-1]["data"]["outputs"] == {"text": "one two"}
    assert ask(tmp_path, text, app_id="w", inputs={}, response_mode="blocking")[0]["data"]["status"] == "succeeded"
    chunks = ask(tmp_path, text, "llm")
    assert "".join(chunk["delta"]["message"]["content"] for chunk in chunks) == "one two"
    assert chunks[-1]["delta"]["finish_reason"] == "stop"


def test_files_are_described_without_a_fixture(tmp_path: Path) -> None:
    """As Dify describes them."""
    text = "calls: [{call: app, text: x}]"
    (file,) = ask(tmp_path, text, "upload_file", filename="a/b.tar.gz", mimetype="m", content=b"123")
    assert (file["size"], file["extension"], file["mime_type"]) == (3, "gz", "m")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("calls: []", ":1:8", "at least one item"),
        ("call: []", ":1:1", "there is no such setting; did you mean calls?"),
        ("calls:\n  - call: apps\n    text: x", ":2:11", "expected a kind of call, one of app,"),
        ("calls:\n  - call: storage\n    text: x", ":2:11", "expected a kind of call"),
        ("calls:\n  - call: app", ":2:5", "expected one of text, answer, stream"),
        ("calls:\n  - call: app\n    text: x\n    answer: {}", ":2:5", "expected one of text, answer, stream"),
        ("calls:\n  - call: rerank\n    text: x", ":2:5", "calls of the kind rerank have no text"),
        ("calls:\n  - call: app\n    text: x\n    delay: soon", ":4:12", "found"),
        ("calls:\n  - call: app\n    text: x\n    text: y", ":4:5", "found"),
        ("- a", ":1:1", "a map"),
        ("a: [", ":1:", "YAML"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path: Path, text: str, place: str, message: str) -> None:
    """All at once."""
    file = tmp_path / "fixtures.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_fixtures(file)
    shown = str(caught.value)
    assert f"{file}{place}" in shown
    assert message in shown


@given(strategies.plain)
def test_every_value_fits_itself(value: object) -> None:
    """Unless a text in it is a pattern."""
    if not any(mark in repr(value) for mark in "*?["):
        assert fits(value, value)


@given(strategies.plain, strategies.plain_map)
def test_filling_in_never_fails(value: object, request: dict[str, object]) -> None:
    """Whatever the request holds; and what has no placeholder stays."""
    filled = fill(value, request)
    if "${" not in repr(value):
        assert filled == value


@given(st.text("${}abc._ \\", max_size=30), strategies.plain_map)
def test_placeholders(text: str, request: dict[str, object]) -> None:
    """Any text is filled in without an error."""
    assert isinstance(fill(text, request), str)
