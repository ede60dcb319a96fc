"""Values of settings that come from the environment or from files, and that stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.overrides import Overrides
from executor.config.show import show_config
from tests.executor.config.support import load, problems_of

SECRET = "correct-horse-battery-staple"


def test_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the variable is empty."""
    monkeypatch.setenv("CAT_TOKEN", SECRET)
    monkeypatch.setenv("CAT_EMPTY", "")
    config = load(tmp_path, "hooks: {cat: {settings: {token: {from_env: CAT_TOKEN}, empty: {from_env: CAT_EMPTY}}}}")
    assert config.hooks["cat"].values == {"token": SECRET, "empty": ""}


@pytest.mark.parametrize(
    ("content", "value"), [(b"abc", "abc"), (b"abc\n", "abc"), (b"abc\r\n", "abc"), (b"abc\n\n", "abc\n"), (b"", "")]
)
def test_one_line_end_is_taken_off_a_file(tmp_path: Path, content: bytes, value: str) -> None:
    """Editors add it; keys with several lines keep the others."""
    (tmp_path / "key").write_bytes(content)
    config = load(tmp_path, "hooks: {cat: {settings: {key: {from_file: key}}}}")
    assert config.hooks["cat"].values == {"key": value}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{from_env: NOT_SET_AT_ALL}", "the environment variable NOT_SET_AT_ALL is not set"),
        ("{from_file: nope}", "no such file or directory"),
        ("{from_file: .}", "is a directory"),
        ("{from_file: ~no-such-user/key}", "no such file or directory"),
        ("{from_file: binary}", "is not text in UTF-8"),
        ("{from_file: large}", "is larger than 65536 bytes"),
        ("{from_env: 3}", "a reference such as"),
        ("{from_env: A, from_file: b}", "a reference such as"),
        ("{from_env: A, other: b}", "a reference such as"),
        ('{from_file: ""}', "a reference such as"),
    ],
)
def test_references_that_lead_nowhere_are_told(tmp_path: Path, value: str, message: str) -> None:
    """With the place where they stand."""
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    (problem,) = problems_of(tmp_path, f"hooks:\n  cat:\n    settings:\n      key: {value}")
    assert message in problem.message
    assert (problem.name, problem.place.line) == ("hooks.cat.settings.key", 4)


@pytest.mark.parametrize(
    "value", [f"[{SECRET}, {2**70}]", f"{{{SECRET}: {2**70}}}", str(10**60), f"{{from_env: [{SECRET}]}}"]
)
def test_a_value_that_is_refused_is_not_shown(tmp_path: Path, value: str) -> None:
    """Whatever is wrong with it."""
    problems = problems_of(tmp_path, f"hooks: {{cat: {{settings: {{key: {value}}}}}}}")
    assert problems
    for problem in problems:
        assert SECRET not in repr(problem)
        assert "000000" not in repr(problem)


@pytest.mark.parametrize("text", [SECRET, f"[{SECRET}]"])
def test_settings_that_are_no_map_are_not_shown(tmp_path: Path, text: str) -> None:
    """A secret may have slipped out of its place."""
    (problem,) = problems_of(tmp_path, f"hooks: {{cat: {{settings: {text}}}}}")
    assert "expected a map" in problem.message
    assert SECRET not in repr(problem)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[" * 20 + "]" * 20, "nested at most 16 deep"),
        (str(2**64), "an integer of at most 64 bits"),
        ("{1: 2}", "a text as a key"),
        ("!!binary aGVsbG8=", "plain data"),
    ],
)
def test_what_cannot_be_sent_to_a_worker_is_refused(tmp_path: Path, value: str, expected: str) -> None:
    """At once, and not at the first request."""
    problems = problems_of(tmp_path, f"hooks: {{cat: {{settings: {{key: {value}}}}}}}")
    assert any(expected in problem.message for problem in problems)


def test_settings_beyond_what_a_worker_can_be_sent_are_refused(tmp_path: Path) -> None:
    """A mebibyte for all of a hook's settings."""
    values = ", ".join(f"k{index}: {'x' * 60_000}" for index in range(16))
    load(tmp_path, f"hooks: {{cat: {{settings: {{{values}}}}}}}")
    (tmp_path / "half").write_bytes(b"x" * 65_536)
    references = ", ".join(f"k{index}: {{from_file: half}}" for index in range(17))
    (problem,) = problems_of(tmp_path, f"hooks: {{cat: {{settings: {{{references}}}}}}}")
    assert problem.name == "hooks.cat.settings"


def test_secrets_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the representation of the configuration, nor when it is shown."""
    monkeypatch.setenv("CAT_TOKEN", SECRET)
    text = (
        f"hooks: {{cat: {{settings: {{inline: {SECRET}, nested: {{a: [{SECRET}]}}, token: {{from_env: CAT_TOKEN}}}}}}}}"
    )
    config = load(tmp_path, text, Overrides(settings=(f"cat.option={SECRET}",)))
    assert SECRET in str(config.hooks["cat"].values)
    assert SECRET not in repr(config)
    assert SECRET not in str(config)
    shown = show_config(config)
    assert SECRET not in shown
    assert "token: {from_env: CAT_TOKEN}" in shown
    assert "# inline: hidden, given in" in shown
    assert "# option: hidden, given in --set cat.option" in shown


def test_values_are_a_copy(tmp_path: Path) -> None:
    """Endpoints change what they are given."""
    config = load(tmp_path, "hooks: {cat: {settings: {model: {a: 1}}}}")
    config.hooks["cat"].values["model"]["b"] = 2  # type: ignore[index]  # plain data
    assert config.hooks["cat"].values == {"model": {"a": 1}}


def test_a_reload_reads_again(tmp_path: Path) -> None:
    """So that a secret can be changed without a restart."""
    (tmp_path / "key").write_text("one", encoding="utf-8")
    first = load(tmp_path, "hooks: {cat: {settings: {key: {from_file: key}}}}")
    (tmp_path / "key").write_text("two", encoding="utf-8")
    second = load_config(tmp_path / "executor.yaml")
    assert (first.hooks["cat"].values["key"], second.hooks["cat"].values["key"]) == ("one", "two")
