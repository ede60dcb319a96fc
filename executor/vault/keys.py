"""Keys: 32 random bytes, written as 64 hexadecimal digits or in base64, one a line; the first one encrypts.

Those after it are old ones, which are kept as long as something may be encrypted with them. A key has a short public
name, which every ciphertext carries, so that the right one is found and a missing one can be named.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from executor.vault.errors import KeySourceError

__all__ = ["Key", "new_key", "parse_keys", "write_keys"]

KEY_BYTES: Final = 32
MAX_KEYS: Final = 32
NAME_LENGTH: Final = 8
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_NAME_LABEL: Final = b"endpoint-executor: name of a key"


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        material: 32 bytes. Secret.
    """

    material: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Its public name: 8 hexadecimal digits, from which nothing about the key follows."""
        return hmac.new(self.material, _NAME_LABEL, hashlib.sha256).hexdigest()[:NAME_LENGTH]


def new_key() -> Key:
    """Make a key."""
    return Key(secrets.token_bytes(KEY_BYTES))


def write_keys(keys: tuple[Key, ...]) -> str:
    """Write keys as `parse_keys` reads them."""
    return "".join(f"{base64.b64encode(key.material).decode()}\n" for key in keys)


def parse_keys(text: str, source: str) -> tuple[Key, ...]:
    """Read keys; words that begin with `#` last to the end of the line and are comments.

    Args:
        text: Their text. Secret.
        source: Where it comes from, for messages.

    Returns:
        1 to 32 different keys; the first one encrypts.

    Raises:
        KeySourceError: There is none, or something is no key.
    """
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    keys = tuple(dict.fromkeys(_parse_key(word, source) for word in words))
    if not 0 < len(keys) <= MAX_KEYS:
        raise KeySourceError(
            f"{source} has {len(keys)} keys, and must have 1 to {MAX_KEYS}; `executor secrets new-key` prints one"
        )
    return keys


def _parse_key(word: str, source: str) -> Key:
    try:
        material = bytes.fromhex(word) if _HEX.fullmatch(word) else base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        material = b""
    if len(material) != KEY_BYTES or len(set(material)) == 1:
        raise KeySourceError(
            f"{source} has something that is not a key: expected {KEY_BYTES} random bytes in base64 or as "
            f"{2 * KEY_BYTES} hexadecimal digits; `executor secrets new-key` prints one"
        )
    return Key(material)
