"""Encryption of secret settings, each bound to its hook and its name.

A ciphertext is text: `v1.KEY.DATA`, where KEY is the name of the key, and DATA is base64url, without padding, of

    nonce (12 bytes, random) | AES-256-GCM of the value as JSON, with its tag (16 bytes) at the end

The associated data is `endpoint-executor secret v1`, KEY, the hook's id and the setting's name, each with its length in
front. So a ciphertext that is put into another hook or setting is no longer good, nor is one with any bit changed.

Source: NIST SP 800-38D, section 8.2.2 (random nonces: up to 2**32 for a key).
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
from collections.abc import Collection, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from executor.vault.errors import KeySourceError, SecretUnreadableError
from executor.vault.keyring import KeySource
from executor.vault.keys import Key

__all__ = ["Vault", "key_name"]

VERSION: Final = "v1"
NONCE_BYTES: Final = 12
_PURPOSE: Final = b"endpoint-executor secret v1"


class Vault:
    """Encrypts and decrypts. Used from any thread; it may read a file or run a program for the keys.

    Args:
        source: Where the keys come from.
    """

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}

    @property
    def shown(self) -> str:
        """Where the keys come from, for messages."""
        return self._source.shown

    def seal(self, hook_id: str, setting: str, value: object) -> str:
        """Encrypt one value with the current key, which is read anew: it may have been replaced.

        Args:
            hook_id: The hook that it is for.
            setting: Its name.
            value: Plain data, a text in most cases.

        Raises:
            KeySourceError: There is no key.
        """
        key = self._load(self._source.read_or_make())
        nonce = secrets.token_bytes(NONCE_BYTES)
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        sealed = AESGCM(key.material).encrypt(nonce, data, _bind(key.name, hook_id, setting))
        return f"{VERSION}.{key.name}.{base64.urlsafe_b64encode(nonce + sealed).decode().rstrip('=')}"

    def open(self, hook_id: str, setting: str, sealed: str) -> object:
        """Decrypt one value.

        Raises:
            SecretUnreadableError: Its key is not there, or it is not what was encrypted for this hook and setting.
        """
        version, _, rest = sealed.partition(".")
        name, _, data = rest.partition(".")
        if version != VERSION:
            raise SecretUnreadableError(hook_id, setting, "it is not in a form that this version of the program knows")
        key = self._find(hook_id, setting, name)
        try:
            raw = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
            plain = AESGCM(key.material).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bind(name, hook_id, setting))
        except (InvalidTag, binascii.Error, ValueError):
            reason = f"it was changed, or belongs to another hook or setting; {_set_again(hook_id)}"
            raise SecretUnreadableError(hook_id, setting, reason) from None
        return json.loads(plain.decode("utf-8", "surrogatepass"))

    def seal_settings(
        self, hook_id: str, values: Mapping[str, object], secret_names: Collection[str]
    ) -> tuple[dict[str, object], dict[str, str]]:
        """Divide the settings of a hook into those that are kept as they are, and ciphertexts.

        Args:
            hook_id: Of the hook.
            values: All settings.
            secret_names: Which of them are secret; names without a value do no harm.

        Returns:
            (plain values, ciphertexts), both by name, as `StoredHook` has them.

        Raises:
            KeySourceError: There is a secret and no key.
        """
        plain = {name: value for name, value in values.items() if name not in secret_names}
        sealed = {name: self.seal(hook_id, name, values[name]) for name in values if name in secret_names}
        return plain, sealed

    def open_settings(
        self, hook_id: str, settings: Mapping[str, object], sealed: Mapping[str, str]
    ) -> dict[str, object]:
        """Put the settings of a hook together again.

        Raises:
            SecretUnreadableError: One of the ciphertexts is not good.
        """
        return {**settings, **{name: self.open(hook_id, name, value) for name, value in sealed.items()}}

    def _find(self, hook_id: str, setting: str, name: str) -> Key:
        """Find a key by its name; read the keys again when it is not among those that are known."""
        with self._lock:
            key = self._keys.get(name)
        if key is not None:
            return key
        try:
            self._load(self._source.read())
        except KeySourceError as error:
            raise SecretUnreadableError(hook_id, setting, str(error)) from error
        with self._lock:
            key, known = self._keys.get(name), ", ".join(self._keys)
        if key is None:
            reason = (
                f"it was encrypted with the key {name}, and {self.shown} has {known}; add that key after the first, or "
                f"{_set_again(hook_id)}"
            )
            raise SecretUnreadableError(hook_id, setting, reason)
        return key

    def _load(self, keys: tuple[Key, ...]) -> Key:
        with self._lock:
            self._keys = {key.name: key for key in keys}
        return keys[0]


def key_name(sealed: str) -> str:
    """Tell which key a ciphertext was made with."""
    return sealed.split(".")[1] if sealed.count(".") > 1 else ""


def _bind(key: str, hook_id: str, setting: str) -> bytes:
    parts = [_PURPOSE, *(part.encode("utf-8", "surrogatepass") for part in (key, hook_id, setting))]
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _set_again(hook_id: str) -> str:
    return f"give the value again with `executor hook set {hook_id}`"
