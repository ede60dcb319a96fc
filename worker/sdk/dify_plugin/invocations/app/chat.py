"""Calls of chat apps."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["ChatAppInvocation"]


class ChatAppInvocation(BackwardsInvocation):
    """`session.app.chat`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Send a message."""
        return self._backwards_invoke(InvokeType.App, *given, **named)
