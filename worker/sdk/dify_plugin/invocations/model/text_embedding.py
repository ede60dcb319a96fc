"""Calls of models for vectors."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["TextEmbeddingInvocation"]


class TextEmbeddingInvocation(BackwardsInvocation):
    """`session.model.text_embedding`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Return the vectors of texts."""
        return self._backwards_invoke(InvokeType.TextEmbedding, *given, **named)

    def invoke_multimodal(self, *given: Any, **named: Any) -> Any:
        """Return the vectors of what is not text."""
        return self._backwards_invoke(InvokeType.MultimodalEmbedding, *given, **named)
