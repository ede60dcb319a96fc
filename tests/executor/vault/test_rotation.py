"""A new key: everything is encrypted again, can be read all the time, and the old key is of no use afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from executor.config.confidential import Confidential
from executor.config.references import FromFile
from executor.store.store import Store, open_store
from executor.vault.errors import SecretUnreadableError
from executor.vault.keyring import KEY_FILE, ConfiguredKeys, KeyFile
from executor.vault.keys import new_key, write_keys
from executor.vault.rotation import rotate, used_keys
from executor.vault.vault import Vault
from tests.executor.store.support import make_hook, make_plugin


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with a plugin."""
    with open_store(None, tmp_path) as opened:
        opened.plugins.add(make_plugin())
        yield opened


def fill(store: Store, vault: Vault) -> None:
    """Make two hooks with two secrets each, and one without."""
    for hook_id in ("one", "two"):
        sealed = {name: vault.seal(hook_id, name, f"{hook_id} {name}") for name in ("token", "key")}
        store.hooks.add(replace(make_hook(hook_id), secrets=sealed))
    store.hooks.add(replace(make_hook("three"), secrets={}))


def read(store: Store, vault: Vault) -> dict[str, dict[str, object]]:
    """All secrets."""
    return {
        hook.hook_id: {name: vault.open(hook.hook_id, name, sealed) for name, sealed in hook.secrets.items()}
        for hook in store.hooks.list()
    }


SECRETS = {
    "one": {"token": "one token", "key": "one key"},
    "two": {"token": "two token", "key": "two key"},
    "three": {},
}


def test_a_new_key_is_made_and_the_one_before_is_kept(store: Store, tmp_path: Path) -> None:
    """Until the next time; a service that runs needs no restart."""
    source = KeyFile(tmp_path / KEY_FILE)
    running = Vault(source)
    fill(store, running)
    (first,) = source.read()
    done = rotate(store.hooks, source)
    second = source.read()[0]
    assert (done.hooks, done.secrets, done.current) == (2, 4, second.name)
    assert (done.kept, done.dropped) == ((first.name,), ())
    assert used_keys(store.hooks) == {second.name}
    assert read(store, running) == SECRETS
    done = rotate(store.hooks, source)
    assert (done.kept, done.dropped) == ((second.name,), (first.name,))
    assert [key.name for key in source.read()] == [done.current, second.name]
    assert read(store, running) == read(store, Vault(source)) == SECRETS


def test_the_old_key_can_be_forgotten_at_once(store: Store, tmp_path: Path) -> None:
    """It opens nothing any more."""
    source = KeyFile(tmp_path / KEY_FILE)
    fill(store, Vault(source))
    old = source.read()
    done = rotate(store.hooks, source, forget=True)
    assert [key.name for key in source.read()] == [done.current]
    assert read(store, Vault(source)) == SECRETS
    source.write(old)
    with pytest.raises(SecretUnreadableError, match=f"encrypted with the key {done.current}"):
        read(store, Vault(source))


def test_configured_keys_are_used_as_they_are(store: Store, tmp_path: Path) -> None:
    """The first one from now on; nothing is written."""
    old, new = new_key(), new_key()
    file = tmp_path / "keys"
    file.write_text(write_keys((old,)))
    source = ConfiguredKeys(Confidential(FromFile("keys"), tmp_path))
    fill(store, Vault(source))
    text = write_keys((new, old))
    file.write_text(text)
    done = rotate(store.hooks, source)
    assert (done.current, done.kept, done.dropped) == (new.name, (old.name,), ())
    assert file.read_text() == text
    file.write_text(write_keys((new,)))
    assert read(store, Vault(source)) == SECRETS


def test_nothing_is_changed_where_a_secret_cannot_be_read(store: Store, tmp_path: Path) -> None:
    """Neither the file nor a ciphertext."""
    source = KeyFile(tmp_path / KEY_FILE)
    fill(store, Vault(source))
    store.hooks.update("two", lambda hook: replace(hook, secrets={**hook.secrets, "bad": "v1.00000000.AAAA"}))
    before = source.read(), store.hooks.list()
    with pytest.raises(SecretUnreadableError, match=r"hook two: the secret setting bad .* the key 00000000"):
        rotate(store.hooks, source)
    assert (source.read(), store.hooks.list()) == before


def test_an_interrupted_rotation_can_be_done_again(store: Store, tmp_path: Path) -> None:
    """However often: keys that nothing is encrypted with do not pile up."""
    source = KeyFile(tmp_path / KEY_FILE)
    fill(store, Vault(source))
    for _ in range(3):
        source.write((new_key(), *source.read()))
        sealed = Vault(source).seal("one", "token", "one token")
        store.hooks.update("one", lambda hook, sealed=sealed: replace(hook, secrets={**hook.secrets, "token": sealed}))  # type: ignore[misc] # a default argument
        assert read(store, Vault(source)) == SECRETS
    rotate(store.hooks, source)
    assert len(source.read()) == 2
    assert read(store, Vault(source)) == SECRETS
