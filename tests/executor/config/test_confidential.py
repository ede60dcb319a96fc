"""Secrets of the executor itself: where they may be, when they are fetched, and that they are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.references import ResolveError
from executor.config.show import show_config
from tests.executor.config.support import load, problems_of

SECRET = "postgresql://user:correct-horse@db.example.org/executor"


@pytest.mark.parametrize(
    "value",
    [
        f'"{SECRET}"',
        "{from_env: DATABASE}",
        "{from_file: secret}",
        "{from_command: [cat, secret]}",
        "{from_command: [sh, -c, 'printf %s $DATABASE']}",
    ],
)
def test_a_secret_is_a_text_or_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Paths start at the folder of the configuration; what is shown can be read again, or is a comment."""
    monkeypatch.setenv("DATABASE", SECRET)
    (tmp_path / "secret").write_text(SECRET + "\n")
    config = load(tmp_path, f"store: {{url: {value}}}")
    assert config.store.url is not None
    assert config.store.url.reveal() == SECRET
    shown = show_config(config)
    assert "correct-horse" not in shown + repr(config) + str(config.store.url)
    if config.store.url.plain:
        assert "# url: hidden, given in" in shown
    else:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        again = load(tmp_path, shown) if "from_command" in value else load(elsewhere, shown)
        assert again.store.url is not None
        assert again.store.url.reveal() == SECRET


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{from_env: NOT_SET_AT_ALL}", "the environment variable NOT_SET_AT_ALL is not set"),
        ("{from_env: EMPTY}", "the environment variable EMPTY is empty"),
        ("{from_file: nope}", "no such file"),
        ("{from_command: [/no/such/program]}", "cannot run `/no/such/program`"),
        ("{from_command: [sh, -c, 'echo oh no >&2; exit 3']}", r"failed: exit status 3 \(oh no\)"),
        ("{from_command: [printf, '\\377']}", "must print text in UTF-8"),
        ("{from_command: [head, -c, '70000', /dev/zero]}", "of at most 65536 bytes"),
        ("{from_command: ['true']}", "the output of `true` is empty"),
    ],
)
def test_a_secret_that_is_not_there_is_told_when_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    """And not before: nothing is run to check a configuration."""
    monkeypatch.setenv("EMPTY", "")
    config = load(tmp_path, f"store: {{url: {value}}}")
    assert config.store.url is not None
    with pytest.raises(ResolveError, match=message):
        config.store.url.reveal()


@pytest.mark.parametrize(
    "value",
    [
        '""',
        "3",
        "[correct-horse]",
        "{from_env: ''}",
        "{from_file: 3}",
        "{from_env: A, from_file: B}",
        "{correct-horse: a}",
        "{from_command: correct-horse}",
        "{from_command: []}",
        "{from_command: ['']}",
        "{from_command: [3]}",
    ],
)
def test_anything_else_is_refused_and_not_shown(tmp_path: Path, value: str) -> None:
    """With its place."""
    (problem,) = problems_of(tmp_path, f"store:\n  url: {value}")
    assert "expected a text, {from_env: NAME}" in problem.message
    assert (problem.name, problem.place.line) == ("store.url", 2)
    assert "correct-horse" not in repr(problem)


def test_there_need_be_none() -> None:
    """By default there is no server."""
    config = load_config(None)
    assert config.store.url is None
    assert "url: null" in show_config(config)
