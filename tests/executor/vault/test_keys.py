"""Keys: their form, their files, and where the configuration says they are."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.config.confidential import Confidential, FromCommand
from executor.config.references import FromEnv, FromFile
from executor.vault.errors import KeySourceError
from executor.vault.keyring import KEY_FILE, ConfiguredKeys, KeyFile, key_source
from executor.vault.keys import Key, new_key, parse_keys, write_keys

ONE, TWO = Key(bytes(range(32))), Key(bytes(range(1, 33)))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=32, unique=True))
def test_keys_are_read_as_they_were_written(materials: list[bytes]) -> None:
    """The first one stays the first."""
    keys = tuple(Key(material) for material in materials if len(set(material)) > 1)
    if keys:
        assert parse_keys(write_keys(keys), "x") == keys


def test_keys_are_base64_or_hexadecimal() -> None:
    """With comments, a line each or side by side; a repeated one counts once."""
    text = f"# made today\n{ONE.material.hex().upper()}  # the new one\n\n{base64.b64encode(TWO.material).decode()}\r\n"
    assert parse_keys(text + ONE.material.hex(), "x") == (ONE, TWO)


@given(st.text())
def test_anything_else_is_refused_without_being_shown(text: str) -> None:
    """The source is named."""
    marked = f"correct-horse {text}"
    with pytest.raises(KeySourceError, match="the source has something that is not a key") as caught:
        parse_keys(marked, "the source")
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "\n".join(Key(bytes([n, 77] * 16)).material.hex() for n in range(33))]
)
def test_there_are_1_to_32_keys(text: str) -> None:
    """No more and no fewer."""
    with pytest.raises(KeySourceError, match="and must have 1 to 32"):
        parse_keys(text, "x")


@pytest.mark.parametrize("text", ["00" * 32, "ff" * 32, base64.b64encode(b"x" * 31).decode(), "password"])
def test_keys_that_are_none_are_refused(text: str) -> None:
    """Too short, or one byte over and over: placeholders of examples."""
    with pytest.raises(KeySourceError, match="expected 32 random bytes"):
        parse_keys(text, "x")


def test_names_of_keys_tell_nothing() -> None:
    """They differ, stay the same, and the key is not in its text."""
    assert ONE.name != TWO.name
    assert ONE.name == Key(ONE.material).name
    assert str(list(ONE.material)) not in repr(ONE)
    assert repr(ONE) == "Key()"


def test_a_key_file_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    """However many programs need it at the same time."""
    path = tmp_path / "state" / KEY_FILE
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: KeyFile(path).read_or_make(), range(8)))
    assert len(found) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """With what to do."""
    file = KeyFile(tmp_path / KEY_FILE)
    file.read_or_make()
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(KeySourceError, match=r"can be read or changed by others; chmod 600 .*secrets\.key"):
        file.read()


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Or cannot be read or made."""
    with pytest.raises(KeySourceError, match="is missing; restore it from a backup"):
        KeyFile(tmp_path / KEY_FILE).read()
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(KeySourceError, match="cannot be read: Is a directory"):
        KeyFile(tmp_path / KEY_FILE).read_or_make()
    (tmp_path / "file").touch()
    with pytest.raises(KeySourceError, match="cannot be"):
        KeyFile(tmp_path / "file" / KEY_FILE).read_or_make()


def test_keys_come_from_where_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment, a file or a program; a file of the executor's own when it says nothing."""
    monkeypatch.setenv("KEYS", write_keys((ONE, TWO)))
    (tmp_path / "keys").write_text(write_keys((ONE, TWO)))
    for where in (FromEnv("KEYS"), FromFile("keys"), FromCommand(("cat", "keys")), write_keys((ONE, TWO))):
        assert key_source(Confidential(where, tmp_path), tmp_path).read_or_make() == (ONE, TWO)
    assert not (tmp_path / KEY_FILE).exists()
    made = key_source(None, tmp_path).read_or_make()
    assert (tmp_path / KEY_FILE).read_text() == write_keys(made)
    with pytest.raises(KeySourceError, match=r"secrets\.key: the environment variable GONE is not set"):
        ConfiguredKeys(Confidential(FromEnv("GONE"))).read()


def test_keys_are_random() -> None:
    """No two are the same."""
    assert len({new_key() for _ in range(100)}) == 100
