"""Calls of language models."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["LLMInvocation", "SummaryInvocation"]


class LLMInvocation(BackwardsInvocation):
    """`session.model.llm`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Ask the model."""
        return self._backwards_invoke(InvokeType.LLM, *given, **named)


class SummaryInvocation(BackwardsInvocation):
    """`session.model.summary`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Summarise a text."""
        return self._backwards_invoke(InvokeType.SYSTEM_SUMMARY, *given, **named)
