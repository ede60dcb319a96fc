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

    def set(self, *given: Any, **named: Any) -> Any:
        """Keep a value."""
        return self._backwards_invoke(InvokeType.Storage, *given, **named)

    def get(self, *given: Any, **named: Any) -> Any:
        """Return a value."""
        return self._backwards_invoke(InvokeType.Storage, *given, **named)

    def delete(self, *given: Any, **named: Any) -> Any:
        """Forget a value."""
        return self._backwards_invoke(InvokeType.Storage, *given, **named)

    def exist(self, *given: Any, **named: Any) -> Any:
        """Tell whether there is a value."""
        return self._backwards_invoke(InvokeType.Storage, *given, **named)
