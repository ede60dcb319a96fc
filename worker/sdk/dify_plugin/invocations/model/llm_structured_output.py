"""Calls of language models that answer by a schema."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["LLMStructuredOutputInvocation"]


class LLMStructuredOutputInvocation(BackwardsInvocation):
    """`session.model.llm_structured_output`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Ask the model."""
        return self._backwards_invoke(InvokeType.LLMStructuredOutput, *given, **named)
