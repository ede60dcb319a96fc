"""A new key: everything is encrypted again, and readable all the time.

The order is what makes it safe to be interrupted anywhere, and to be done while services run: first the new key is
written beside the old ones, then the ciphertexts are made anew one hook at a time, and only then old keys go. A program
that read the keys before that may still write with the old one; so that one stays until the next time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from executor.store.hooks import HookRepository
from executor.store.records import StoredHook
from executor.vault.keyring import KeyFile, KeySource
from executor.vault.keys import Key, new_key
from executor.vault.vault import Vault, key_name

__all__ = ["Rotated", "rotate", "used_keys"]


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was done.

    Attributes:
        hooks: How many have secrets.
        secrets: How many ciphertexts were made anew.
        current: Name of the key that encrypts now.
        kept: Names of old keys that can still be read.
        dropped: Names of old keys that are gone from the file.
    """

    hooks: int
    secrets: int
    current: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


def rotate(hooks: HookRepository, source: KeySource, *, forget: bool = False) -> Rotated:
    """Encrypt all secrets with another key: a new one where the file is ours, the first configured one otherwise.

    Args:
        hooks: Whose secrets.
        source: Of the keys.
        forget: Whether the key that was current until now goes from the file as well.

    Raises:
        KeySourceError: The keys cannot be read or written.
        SecretUnreadableError: A ciphertext is not good; nothing was changed.
        StoreError: The store cannot be used.
    """
    before = source.read_or_make()
    vault = Vault(source)
    for hook in hooks.list():
        vault.open_settings(hook.hook_id, {}, hook.secrets)
    if isinstance(source, KeyFile):
        source.write((new_key(), *_needed(before, before[:1], hooks)))
    changed = [_seal_again(hooks, vault, hook) for hook in hooks.list() if hook.secrets]
    keys = source.read()
    if isinstance(source, KeyFile):
        keys = _needed(keys, keys[:1] if forget else keys[:2], hooks)
        source.write(keys)
    current, *old = (key.name for key in keys)
    dropped = tuple(key.name for key in before if key not in keys)
    return Rotated(len(changed), sum(changed), current, tuple(old), dropped)


def used_keys(hooks: HookRepository) -> frozenset[str]:
    """List the names of the keys that something is encrypted with."""
    return frozenset(key_name(sealed) for hook in hooks.list() for sealed in hook.secrets.values())


def _needed(keys: tuple[Key, ...], wanted: tuple[Key, ...], hooks: HookRepository) -> tuple[Key, ...]:
    """Leave out the keys that are not wanted and that nothing is encrypted with."""
    used = used_keys(hooks)
    return tuple(key for key in keys if key in wanted or key.name in used)


def _seal_again(hooks: HookRepository, vault: Vault, hook: StoredHook) -> int:
    def change(present: StoredHook) -> StoredHook:
        opened = {name: vault.open(hook.hook_id, name, sealed) for name, sealed in present.secrets.items()}
        return replace(present, secrets={name: vault.seal(hook.hook_id, name, value) for name, value in opened.items()})

    return len(hooks.update(hook.hook_id, change).secrets)
