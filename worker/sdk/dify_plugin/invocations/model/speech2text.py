"""Calls of models for transcription."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["Speech2TextInvocation"]


class Speech2TextInvocation(BackwardsInvocation):
    """`session.model.speech2text`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Write down what is said."""
        return self._backwards_invoke(InvokeType.Speech2Text, *given, **named)
