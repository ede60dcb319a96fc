"""Calls of completion apps."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["CompletionAppInvocation"]


class CompletionAppInvocation(BackwardsInvocation):
    """`session.app.completion`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Complete a text."""
        return self._backwards_invoke(InvokeType.App, *given, **named)
