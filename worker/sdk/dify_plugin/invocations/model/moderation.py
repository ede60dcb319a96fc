"""Calls of models for moderation."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["ModerationInvocation"]


class ModerationInvocation(BackwardsInvocation):
    """`session.model.moderation`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Judge a text."""
        return self._backwards_invoke(InvokeType.Moderation, *given, **named)
