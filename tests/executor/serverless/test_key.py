"""The key of the daemon."""

from __future__ import annotations

import pytest

from executor.config.serverless import Serverless
from executor.errors import StartupError
from executor.serverless.key import read_daemon_key

SETTINGS = Serverless.model_validate({"key": {"from_env": "CONNECTOR_KEY"}})


def refusal(monkeypatch: pytest.MonkeyPatch, key: str) -> str:
    """What is said about a key that is not taken."""
    monkeypatch.setenv("CONNECTOR_KEY", key)
    with pytest.raises(StartupError) as caught:
        read_daemon_key(SETTINGS)
    return str(caught.value)


def test_a_key_is_taken_without_white_space_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files end with a line feed."""
    monkeypatch.setenv("CONNECTOR_KEY", " 0123456789abcdef\n")
    assert read_daemon_key(SETTINGS) == "0123456789abcdef"


@pytest.mark.parametrize("key", ["hush", "0123456789abcde", f"hush{' ' * 40}"])
def test_a_key_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """With the setting, where it comes from, its length, and what to do."""
    said = refusal(monkeypatch, key)
    assert said.startswith("serverless.key: the environment variable CONNECTOR_KEY: the key has ")
    assert f"the key has {len(key.strip())} characters" in said
    assert "expected at least 16" in said
    assert "`openssl rand -hex 32`" in said
    assert key.strip() not in said


def test_what_is_no_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, and what no header can carry."""
    assert refusal(monkeypatch, " ").startswith("serverless.key: ")
    assert "printable ASCII" in refusal(monkeypatch, "käse" * 10)
