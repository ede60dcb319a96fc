"""Calls of models for ranking."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["RerankInvocation"]


class RerankInvocation(BackwardsInvocation):
    """`session.model.rerank`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Rank documents."""
        return self._backwards_invoke(InvokeType.Rerank, *given, **named)

    def invoke_multimodal(self, *given: Any, **named: Any) -> Any:
        """Rank documents that are not texts."""
        return self._backwards_invoke(InvokeType.MultimodalRerank, *given, **named)
