"""Secrets at rest: only what was encrypted for a hook and a setting can be read there, and only with its key."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.config.confidential import Confidential
from executor.vault.errors import KeySourceError, SecretUnreadableError
from executor.vault.keyring import KEY_FILE, ConfiguredKeys, KeyFile
from executor.vault.keys import new_key, write_keys
from executor.vault.vault import Vault, key_name
from tests.executor.vault.support import make_vault

SECRET = "correct-horse-battery-staple"
SHARED = Vault(ConfiguredKeys(Confidential(write_keys((new_key(),)))))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(value=PLAIN, hook_id=st.text(), setting=st.text())
def test_what_is_sealed_can_be_opened(value: object, hook_id: str, setting: str) -> None:
    """Any plain data, for hooks and settings of any name."""
    assert SHARED.open(hook_id, setting, SHARED.seal(hook_id, setting, value)) == value


def test_nothing_is_sealed_twice_in_the_same_way(tmp_path: Path) -> None:
    """And nothing of the value is in the ciphertext."""
    vault = make_vault(tmp_path)
    sealed = {vault.seal("hook", "token", SECRET) for _ in range(100)}
    assert len(sealed) == 100
    assert all(SECRET not in one and SECRET.encode() not in raw(one) for one in sealed)


def raw(sealed: str) -> bytes:
    """The bytes of a ciphertext."""
    data = sealed.split(".")[2]
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))


@pytest.mark.parametrize(
    ("hook_id", "setting"), [("other", "token"), ("hook", "other"), ("hookt", "oken"), ("", "hooktoken")]
)
def test_a_ciphertext_cannot_be_moved(hook_id: str, setting: str) -> None:
    """To another hook or setting: otherwise whoever can write the database could have a plugin print it."""
    with pytest.raises(SecretUnreadableError, match="it was changed, or belongs to another hook or setting") as caught:
        SHARED.open(hook_id, setting, SHARED.seal("hook", "token", SECRET))
    assert (caught.value.hook_id, caught.value.setting) == (hook_id, setting)
    assert f"hook {hook_id}: the secret setting {setting} cannot be decrypted" in str(caught.value)


@given(st.data())
def test_a_changed_ciphertext_is_refused(data: st.DataObject) -> None:
    """Whichever bit it is, and wherever it is cut."""
    sealed = SHARED.seal("hook", "token", SECRET)
    version, name, _ = sealed.split(".")
    content = bytearray(raw(sealed))
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    else:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    changed = f"{version}.{name}.{base64.urlsafe_b64encode(content).decode()}"
    with pytest.raises(SecretUnreadableError, match="it was changed"):
        SHARED.open("hook", "token", changed)


@given(st.text() | st.text().map(lambda text: f"v1.{key_name(SHARED.seal('', '', ''))}.{text}"))
def test_whatever_else_is_in_the_database_is_refused(garbage: str) -> None:
    """With an error that names the hook and the setting."""
    with pytest.raises(SecretUnreadableError, match="hook hook: the secret setting token cannot be decrypted"):
        SHARED.open("hook", "token", garbage)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """So is the one that is there, and what to do."""
    one, other = make_vault(tmp_path / "one"), make_vault(tmp_path / "other")
    sealed = one.seal("hook", "token", SECRET)
    there = key_name(other.seal("hook", "token", ""))
    message = f"encrypted with the key {key_name(sealed)}, and the key file .* has {there}; .* `executor hook set hook`"
    with pytest.raises(SecretUnreadableError, match=message):
        other.open("hook", "token", sealed)
    with pytest.raises(SecretUnreadableError, match="is missing; restore it from a backup"):
        make_vault(tmp_path / "third").open("hook", "token", sealed)
    assert not (tmp_path / "third").exists(), "reading makes no key"


def test_a_key_that_was_added_is_found_without_a_restart(tmp_path: Path) -> None:
    """And the newest one encrypts."""
    source = KeyFile(tmp_path / KEY_FILE)
    vault = Vault(source)
    before = vault.seal("hook", "token", "before")
    key = new_key()
    source.write((key, *source.read()))
    after = Vault(source).seal("hook", "token", "after")
    assert key_name(after) == key.name == key_name(vault.seal("hook", "token", ""))
    assert (vault.open("hook", "token", before), vault.open("hook", "token", after)) == ("before", "after")


def test_settings_are_divided_and_put_together(tmp_path: Path) -> None:
    """Only secrets are encrypted; a secret that is not given is not there."""
    vault = make_vault(tmp_path)
    values = {"token": SECRET, "colour": "pink", "deep": {"token": [1, None]}}
    plain, sealed = vault.seal_settings("hook", values, {"token", "absent"})
    assert plain == {"colour": "pink", "deep": {"token": [1, None]}}
    assert sealed.keys() == {"token"}
    assert vault.open_settings("hook", plain, sealed) == values
    with pytest.raises(SecretUnreadableError, match="token"):
        vault.open_settings("other", plain, sealed)


def test_without_secrets_there_need_be_no_key(tmp_path: Path) -> None:
    """No file is made for a plugin without any."""
    vault = make_vault(tmp_path / "state")
    assert vault.seal_settings("hook", {"a": 1}, ()) == ({"a": 1}, {})
    assert vault.open_settings("hook", {"a": 1}, {}) == {"a": 1}
    assert not (tmp_path / "state").exists()


def test_configured_keys_are_never_made() -> None:
    """A configuration that names what is not there is an error, at the sealing as well."""
    vault = Vault(ConfiguredKeys(Confidential("no-key")))
    with pytest.raises(KeySourceError, match=r"secrets\.key \(the configuration\) has something that is not a key"):
        vault.seal("hook", "token", SECRET)
