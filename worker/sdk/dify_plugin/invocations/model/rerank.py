"""Calls of models that rank documents."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.data import plain
from dify_plugin.entities.model.rerank import (
    MultiModalRerankModelConfig,
    MultiModalRerankResult,
    RerankModelConfig,
    RerankResult,
)
from dify_plugin.entities.model.text_embedding import MultiModalContent

__all__ = ["RerankInvocation"]


class RerankInvocation(BackwardsInvocation):
    """`session.model.rerank`."""

    def invoke(self, model_config: RerankModelConfig | dict[str, Any], docs: list[str], query: str) -> RerankResult:
        """Rank documents by how well they answer a question."""
        config = RerankModelConfig.model_validate(model_config)
        request = {**config.model_dump(mode="json"), "docs": docs, "query": query}
        answer: RerankResult = self._invoke_once(InvokeType.Rerank, RerankResult, request)
        return answer

    def invoke_multimodal(
        self,
        model_config: MultiModalRerankModelConfig | dict[str, Any],
        query: MultiModalContent,
        docs: list[MultiModalContent],
    ) -> MultiModalRerankResult:
        """Rank documents of any form."""
        config = MultiModalRerankModelConfig.model_validate(model_config)
        request = {**config.model_dump(mode="json"), "query": plain(query), "docs": plain(docs)}
        answer: MultiModalRerankResult = self._invoke_once(InvokeType.MultimodalRerank, MultiModalRerankResult, request)
        return answer
