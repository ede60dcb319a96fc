"""Calls of models for speech."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["TTSInvocation"]


class TTSInvocation(BackwardsInvocation):
    """`session.model.tts`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Say a text."""
        return self._backwards_invoke(InvokeType.TTS, *given, **named)
