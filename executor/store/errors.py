"""What can go wrong with the store, each with the sentence that the user needs."""

from __future__ import annotations

from typing import ClassVar

from executor.errors import ExecutorError

__all__ = [
    "AlreadyStoredError",
    "InUseError",
    "InvalidKeyError",
    "InvalidTtlError",
    "InvalidValueError",
    "KeyMissingError",
    "NotStoredError",
    "QuotaExceededError",
    "StorageError",
    "StorageUnavailableError",
    "StoreError",
    "StoreVersionError",
]


class StoreError(ExecutorError):
    """The database cannot be used: not there, not writable, damaged, busy or full."""

    code = "store.unavailable"


class StoreVersionError(StoreError):
    """The database was made by a newer version of this program."""

    code = "store.newer"


class AlreadyStoredError(StoreError):
    """There is one with this id already; nothing was changed."""

    code = "store.exists"


class NotStoredError(StoreError):
    """There is none with this id; nothing was changed."""

    code = "store.missing"


class InvalidValueError(StoreError):
    """A value cannot be kept; nothing was changed."""

    code = "store.value"


class InUseError(StoreError):
    """Something else refers to it, so that it cannot be removed; nothing was changed."""

    code = "store.in_use"


class StorageError(ExecutorError):
    """A plugin's call to its storage failed; nothing was changed. The text may be shown to the plugin."""

    code: ClassVar[str] = "storage.error"


class KeyMissingError(StorageError):
    """There is no value under the key."""

    code = "storage.key_missing"


class InvalidKeyError(StorageError):
    """The key is not one that can be used."""

    code = "storage.key_invalid"


class InvalidTtlError(StorageError):
    """The time to live is not a positive number of seconds, or too many."""

    code = "storage.ttl_invalid"


class QuotaExceededError(StorageError):
    """With this value, the plugin would have more stored than it may."""

    code = "storage.quota"


class StorageUnavailableError(StorageError):
    """The database below could not be used. Whether a change was made is not known."""

    code = "storage.unavailable"
