"""Keys of plugin storage, as Dify reads them.

A key is taken for a path: it is cleaned first, so that `a//b`, `./a/b` and `/a/b` are all `a/b`; `x/../a` is `a`.

Source: dify-plugin-daemon, internal/core/persistence, at the commit that `docs/supported.md` names.
"""

from __future__ import annotations

import posixpath
from typing import Final

from executor.store.errors import InvalidKeyError

__all__ = ["MAX_KEY_LENGTH", "clean_key"]

MAX_KEY_LENGTH: Final = 256
"""Characters of a key, as it was given."""


def clean_key(key: str) -> str:
    """Make a key that stands for one value only.

    Returns:
        1 to 256 characters: a path that does not begin or end with a slash, without empty parts.

    Raises:
        InvalidKeyError: It is too long, leads out of the plugin's storage or names nothing in it, has `..` or a
            backslash in it, or characters that are none.
    """
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidKeyError(f"the storage key is {len(key)} characters long; at most {MAX_KEY_LENGTH} are allowed")
    if "\0" in key or any("\ud800" <= character <= "\udfff" for character in key):
        raise InvalidKeyError(f"the storage key {_show(key)} has a NUL or a lone surrogate in it")
    cleaned = posixpath.normpath(f"/{key.lstrip('/')}") if key.startswith("/") else posixpath.normpath(key)
    if ".." in cleaned or "//" in cleaned or "\\" in cleaned:
        raise InvalidKeyError(f"the storage key {_show(key)} must not have '..', '//' or a backslash in it")
    cleaned = cleaned.lstrip("/")
    if not cleaned or cleaned == ".":
        raise InvalidKeyError(f"the storage key {_show(key)} names nothing; give at least one character")
    return cleaned


def _show(key: str) -> str:
    return ascii(key)
