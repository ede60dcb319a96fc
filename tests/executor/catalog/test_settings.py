"""Values of settings are checked, completed and converted; nothing secret gets out."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.catalog.settings import (
    MAX_SETTINGS,
    Option,
    Resolved,
    Setting,
    SettingType,
    mask,
    resolve_settings,
)

TEXT = Setting(name="text", type=SettingType.TEXT_INPUT)
SECRET = Setting(name="secret", type=SettingType.SECRET_INPUT, required=True)
COLOUR = Setting(name="colour", type=SettingType.SELECT, options=(Option("red"), Option("blue")))
FLAG = Setting(name="flag", type=SettingType.BOOLEAN)
APP = Setting(name="app", type=SettingType.APP_SELECTOR)
MODEL = Setting(name="model", type=SettingType.MODEL_SELECTOR)
TOOLS = Setting(name="tools", type=SettingType.TOOLS)
RERANK = Setting(name="model", type=SettingType.MODEL_SELECTOR, scope="rerank")

GOOD_MODEL = {"provider": "p", "model": "m", "model_type": "llm"}


def _resolve(setting: Setting, value: object) -> Resolved:
    return resolve_settings((setting,), {setting.name: value})


@pytest.mark.parametrize(
    ("setting", "given", "value"),
    [
        (TEXT, "hello", "hello"),
        (TEXT, "", ""),
        (TEXT, None, None),
        (SECRET, "s3cret", "s3cret"),
        (COLOUR, "blue", "blue"),
        (FLAG, True, True),
        (FLAG, False, False),
        (FLAG, 0, False),
        (FLAG, 1, True),
        (FLAG, "true", True),
        (FLAG, "False", False),
        (FLAG, "1", True),
        (FLAG, "0", False),
        (APP, {"app_id": "1", "inputs": {"a": [1]}}, {"app_id": "1", "inputs": {"a": [1]}}),
        (MODEL, {**GOOD_MODEL, "mode": "chat"}, {**GOOD_MODEL, "mode": "chat"}),
        (
            RERANK,
            {**GOOD_MODEL, "score_threshold": 0.5, "top_n": 3},
            {**GOOD_MODEL, "score_threshold": 0.5, "top_n": 3},
        ),
        (TOOLS, [{"tool_name": "t"}], [{"tool_name": "t"}]),
        (Setting(name="m", type=SettingType.SELECT, options=(Option("a"),), multiple=True), ["a"], ["a"]),
        (Setting(name="m", type=SettingType.SELECT, options=(Option("a"),), multiple=True), "a", "a"),
    ],
)
def test_good_values(setting: Setting, given: object, value: object) -> None:
    """What fits is passed on, booleans converted."""
    resolved = _resolve(setting, given)

    assert resolved.problems == ()
    assert resolved.values == {setting.name: value}
    assert type(resolved.values[setting.name]) is type(value)


@pytest.mark.parametrize(
    ("setting", "given", "found", "expected"),
    [
        (TEXT, 5, "an integer", "a text"),
        (TEXT, ["a"], "a list", "a text"),
        (SECRET, None, "null", "a text"),
        (SECRET, 12345678, "an integer", "a text"),
        (COLOUR, "green", '"green"', "one of red, blue"),
        (COLOUR, 1, "an integer", "one of red, blue"),
        (COLOUR, ["red"], "a list", "one of red, blue"),
        (FLAG, 2, "an integer", "true or false"),
        (FLAG, "yes", "a text", "true or false"),
        (FLAG, 1.0, "a number", "true or false"),
        (APP, "1", "a text", "a map with app_id"),
        (APP, {"id": "1"}, "a map without app_id", "a map with app_id"),
        (MODEL, {"provider": "p"}, "a map without model, model_type", "a map with provider, model, model_type"),
        (
            RERANK,
            GOOD_MODEL,
            "a map without score_threshold, top_n",
            "a map with provider, model, model_type, score_threshold, top_n",
        ),
        (TOOLS, {}, "a map", "a list of tools"),
        (TEXT, 2**64, "a longer integer", "an integer of at most 64 bits"),
        (TEXT, float("nan"), "infinity or not-a-number", "a finite number"),
        (TEXT, "\ud800", "a text with half of a surrogate pair", "a text of whole characters"),
        (TEXT, b"bytes", "a bytes", "a text, number, boolean, list, map or null"),
        (APP, {"app_id": {1: 2}}, "a map with other keys", "a map with texts as keys"),
        (
            Setting(name="m", type=SettingType.SELECT, options=(Option("a"),), multiple=True),
            ["a", "b"],
            '"b"',
            "one of a",
        ),
    ],
)
def test_bad_values(setting: Setting, given: object, found: str, expected: str) -> None:
    """What does not fit is told with what was found and what was expected."""
    (problem,) = _resolve(setting, given).problems

    assert (problem.name, problem.found, problem.expected) == (setting.name, found, expected)
    assert problem.message == f"setting {setting.name}: expected {expected}, found {found}"


def test_defaults_are_filled_in_where_a_key_is_absent() -> None:
    """A null that is given stays null, a value wins, and a default makes a required setting complete."""
    schema = (
        Setting(name="a", type=SettingType.TEXT_INPUT, default="x"),
        Setting(name="b", type=SettingType.TEXT_INPUT, default="x"),
        Setting(name="c", type=SettingType.TEXT_INPUT, default="x"),
        Setting(name="d", type=SettingType.TEXT_INPUT, default="x", required=True),
        Setting(name="e", type=SettingType.TEXT_INPUT),
    )

    resolved = resolve_settings(schema, {"b": None, "c": "y"})

    assert resolved.problems == ()
    assert resolved.values == {"a": "x", "b": None, "c": "y", "d": "x"}


def test_unknown_keys_pass() -> None:
    """Whatever they hold, as long as it is plain data."""
    resolved = resolve_settings((), {"new": {"deep": [1, None, True, 2.5, "x"]}, "bad": object()})

    assert resolved.values == {"new": {"deep": [1, None, True, 2.5, "x"]}}
    assert [problem.name for problem in resolved.problems] == ["bad"]


def test_all_problems_at_once() -> None:
    """Missing, wrong and too many, in one go."""
    schema = (SECRET, COLOUR, FLAG)
    given = {"colour": "green", "flag": "maybe", **{f"x{number}": 1 for number in range(MAX_SETTINGS)}}

    assert [(problem.name, problem.found) for problem in resolve_settings(schema, given).problems] == [
        ("", "66 settings"),
        ("colour", '"green"'),
        ("flag", "a text"),
        ("secret", "nothing"),
    ]


def test_values_are_fresh() -> None:
    """Endpoints change nested settings: nothing is shared with what was given, nor with defaults."""
    default: dict[str, Any] = {"app_id": "1"}
    schema = (Setting(name="a", type=SettingType.APP_SELECTOR, default=default), APP)
    given: dict[str, Any] = {"app": {"app_id": "2", "inputs": [1]}}

    values: Any = resolve_settings(schema, given).values
    values["a"]["x"] = values["app"]["x"] = 1
    values["app"]["inputs"].append(2)

    assert default == {"app_id": "1"}
    assert given == {"app": {"app_id": "2", "inputs": [1]}}


def test_deep_values_are_refused() -> None:
    """A value that contains itself does not hang the check."""
    circle: list[object] = []
    circle.append(circle)

    (problem,) = _resolve(TOOLS, circle).problems

    assert problem.expected == "lists and maps nested at most 16 deep"


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
SCHEMA = (TEXT, SECRET, COLOUR, FLAG, APP, MODEL, TOOLS)
ANYTHING = PLAIN | st.binary() | st.integers() | st.floats() | st.complex_numbers() | st.sets(st.integers())


@given(
    values=st.dictionaries(st.sampled_from([item.name for item in SCHEMA]) | st.text(max_size=5), ANYTHING, max_size=8)
)
def test_whatever_is_given_the_result_can_be_sent(values: dict[str, object]) -> None:
    """Nothing raises; what comes out is plain data that msgpack can carry."""
    resolved = resolve_settings(SCHEMA, values)

    assert msgpack.unpackb(msgpack.packb(resolved.values), strict_map_key=False) == resolved.values
    assert all(problem.message.isprintable() for problem in resolved.problems)


@given(
    secret=st.text(min_size=12),
    wrap=st.sampled_from([lambda s: [s], lambda s: {s: 1}, lambda s: {"app_id": [s, object()]}]),
)
def test_no_message_contains_a_secret(secret: str, wrap: Any) -> None:
    """However wrong the value is, it is not in the message."""
    for setting in (TEXT, SECRET, FLAG, APP, MODEL, TOOLS):
        for value in (wrap(secret), secret, secret.encode("utf-8", "replace")):
            for problem in _resolve(setting, value).problems:
                assert secret not in problem.message
                assert json.dumps(secret)[1:-1] not in problem.message


@pytest.mark.parametrize(
    ("secret", "masked"),
    [("", ""), ("a", "*"), ("abcdef", "******"), ("abcdefg", "ab***fg"), ("sk-1234567890", "sk*********90")],
)
def test_mask(secret: str, masked: str) -> None:
    """Short secrets are hidden whole, longer ones show both ends, as Dify does."""
    assert mask(secret) == masked
