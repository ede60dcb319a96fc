"""The target of `session.storage`: values of plugins, kept in the store.

    {opt: "get", key}                                      -> {data: bytes}; without a value an error
    {opt: "set", key, value, ttl_s?}                       -> {data: "ok"}
    {opt: "del", key}                                      -> {data: "ok", deleted_num}
    {opt: "exist", key}                                    -> {data: bool, exist_num}
    {opt: "compare_and_set", key, expected, value, ttl_s?} -> {data: bool}           our own

Texts of errors are those of Dify's daemon, where it has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Final, final

from executor.reverse.call import CallFailedError, ReverseCall
from executor.reverse.requests import read_content
from executor.store.storage import KeyMissingError, PluginStorage, StorageError, StorageScope

__all__ = ["StorageTarget"]

NO_VALUE: Final = "load data failed, please check if the key is correct or you have not set it"
VERBS: Final = {
    "get": "load",
    "set": "save",
    "del": "delete",
    "exist": "exist",
    "compare_and_set": "save",
}
"""What the daemon says of a failure: `save data failed: ...`."""


@final
class StorageTarget:
    """Answers calls of `session.storage`.

    Args:
        storage: Keeps the values.
        scope: Whose they are.
        quota_bytes: Most that may be kept there.
        threads: What waits for the storage. Borrowed.
    """

    def __init__(self, storage: PluginStorage, scope: StorageScope, quota_bytes: int, *, threads: Executor) -> None:
        self._threads = threads
        self._storage = storage
        self._scope = scope
        self._quota_bytes = quota_bytes

    async def call(self, call: ReverseCall) -> AsyncIterator[object]:
        """Answer one call."""
        yield await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, call.request)

    def _answer(self, request: dict[str, object]) -> dict[str, object]:
        operation = str(request["opt"])
        if operation not in VERBS:
            raise CallFailedError(f"storage: `opt` is one of {', '.join(VERBS)}")
        try:
            return self._carry_out(operation, str(request["key"]), request)
        except KeyMissingError:
            raise CallFailedError(NO_VALUE) from None
        except StorageError as error:
            raise CallFailedError(f"{VERBS[operation]} data failed: {error}") from error

    def _carry_out(self, operation: str, key: str, request: dict[str, object]) -> dict[str, object]:
        storage, scope = self._storage, self._scope
        match operation:
            case "get":
                return {"data": storage.get(scope, key)}
            case "del":
                return {"data": "ok", "deleted_num": storage.delete(scope, key)}
            case "exist":
                count = storage.exist(scope, key)
                return {"data": count > 0, "exist_num": count}
        value, ttl_s = read_content("storage", "value", request.get("value")), _ttl(request)
        if operation == "set":
            storage.set(scope, key, value, quota_bytes=self._quota_bytes, ttl_s=ttl_s)
            return {"data": "ok"}
        found = request.get("expected")
        expected = None if found is None else read_content("storage", "expected", found)
        written = storage.compare_and_set(scope, key, expected, value, quota_bytes=self._quota_bytes, ttl_s=ttl_s)
        return {"data": written}


def _ttl(request: dict[str, object]) -> float | None:
    value = request.get("ttl_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CallFailedError("storage: `ttl_s` is a number of seconds")
    return float(value)
