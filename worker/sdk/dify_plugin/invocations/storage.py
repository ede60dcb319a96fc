"""Values kept for the plugin."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["StorageInvocation", "StorageInvocationError"]


class StorageInvocationError(Exception):
    """A value could not be kept, or there is none."""


class StorageInvocation(BackwardsInvocation):
    """`session.storage`."""

    def set(self, key: str, val: bytes, *, ttl_s: float | None = None) -> None:
        """Keep a value.

        Args:
            key: Its name.
            val: The value.
            ttl_s: Seconds after which it is gone; None for never. Dify's SDK does not have this.
        """
        answer = self._ask("set", key, value=bytes(val), ttl_s=ttl_s)
        if answer["data"] != "ok":
            raise StorageInvocationError(f"unexpected data: {answer['data']}")

    def get(self, key: str) -> bytes:
        """Return a value; a key that has none is an error."""
        data = self._ask("get", key)["data"]
        return data if isinstance(data, bytes) else bytes.fromhex(data)

    def delete(self, key: str) -> None:
        """Forget a value."""
        answer = self._ask("del", key)
        if answer["data"] != "ok":
            raise StorageInvocationError(f"unexpected data: {answer['data']}")

    def exist(self, key: str) -> bool:
        """Tell whether there is a value."""
        return bool(self._ask("exist", key)["data"])

    def compare_and_set(self, key: str, expected: bytes | None, val: bytes, *, ttl_s: float | None = None) -> bool:
        """Keep a value if the one that is there is the expected one. Dify's SDK does not have this.

        Args:
            key: Its name.
            expected: The value that must be there; None where there must be none.
            val: The new value.
            ttl_s: Seconds after which it is gone; None for never.

        Returns:
            Whether the new value is there now. Of several calls at once with the same expectation, one gets True.
        """
        expectation = None if expected is None else bytes(expected)
        return bool(self._ask("compare_and_set", key, expected=expectation, value=bytes(val), ttl_s=ttl_s)["data"])

    def _ask(self, operation: str, key: str, **values: Any) -> Any:
        given = {name: value for name, value in values.items() if value is not None or name == "expected"}
        return self._invoke_once(InvokeType.Storage, dict, {"opt": operation, "key": key, **given})
