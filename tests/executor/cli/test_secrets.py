"""`executor secrets`: keys are made, used and checked, and no secret is printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from executor.store.store import open_store
from executor.vault.keyring import KEY_FILE
from executor.vault.keys import parse_keys
from tests.executor.store.support import make_hook, make_plugin
from tests.executor.vault.support import make_vault

SECRET = "correct-horse-battery-staple"


def run(*arguments: str | Path) -> Result:
    """Run `executor secrets`."""
    return CliRunner().invoke(create_app(), ["secrets", *map(str, arguments)])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a hook that has a secret."""
    with open_store(None, tmp_path) as store:
        store.plugins.add(make_plugin())
        sealed = {"token": make_vault(tmp_path).seal("cat", "token", SECRET)}
        store.hooks.add(replace(make_hook("cat"), secrets=sealed))
    return tmp_path


def test_a_new_key_can_be_used(state: Path) -> None:
    """It is printed, and nothing else."""
    made = run("new-key")
    assert made.exit_code == 0
    (key,) = parse_keys(made.stdout, "the output")
    old = (state / KEY_FILE).read_text()
    (state / "keys").write_text(f"{key.material.hex()}\n{old}")
    (state / "executor.yaml").write_text(f"state_dir: {state}\nsecrets: {{key: {{from_file: keys}}}}\n")
    done = run("rotate", "--config", state / "executor.yaml")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"the key is {key.name} of secrets.key (the file ")
    assert "\nencrypted with it: 1 secret of 1 hook\n" in done.stdout
    assert (state / KEY_FILE).read_text() == old
    assert run("check", "--state-dir", state).exit_code == 1


def test_rotation(state: Path) -> None:
    """The file gets a new key, and everything can be read with it."""
    (before,) = parse_keys((state / KEY_FILE).read_text(), "")
    done = run("rotate", "--state-dir", state, "--forget-old")
    assert done.exit_code == 0
    (after,) = parse_keys((state / KEY_FILE).read_text(), "")
    assert done.stdout.splitlines() == [
        f"the key is {after.name} of the key file {state / KEY_FILE}",
        "encrypted with it: 1 secret of 1 hook",
        f"older keys that are removed: {before.name}",
    ]
    checked = run("check", "--state-dir", state)
    assert (checked.exit_code, checked.stdout) == (
        0,
        f"1 of 1 secret can be decrypted with the key file {state / KEY_FILE}\n",
    )


def test_what_cannot_be_decrypted_is_told(state: Path) -> None:
    """By hook and setting, without the secret."""
    (state / KEY_FILE).unlink()
    make_vault(state).seal("", "", "")
    for command in ("check", "rotate"):
        done = run(command, "--state-dir", state)
        assert done.exit_code == 1
        assert "error: hook cat: the secret setting token cannot be decrypted: it was encrypted with" in done.stderr
        assert SECRET not in done.output


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """In one sentence."""
    (tmp_path / "executor.db").mkdir()
    done = run("check", "--state-dir", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: the store ")
    assert len(done.stderr.splitlines()) == 1


def test_without_secrets_there_is_nothing_to_do(tmp_path: Path) -> None:
    """It is said so, rather than counting none."""
    checked = run("check", "--state-dir", tmp_path)
    assert (checked.exit_code, checked.stdout) == (0, "there is no secret to decrypt\n")
    done = run("rotate", "--state-dir", tmp_path)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1] == "there is no secret yet to encrypt with it"
