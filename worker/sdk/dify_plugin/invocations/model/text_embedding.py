"""Calls of models that make vectors of texts and other content."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.data import plain
from dify_plugin.entities.model import EmbeddingInputType
from dify_plugin.entities.model.text_embedding import (
    MultiModalContent,
    MultiModalEmbeddingModelConfig,
    MultiModalEmbeddingResult,
    TextEmbeddingModelConfig,
    TextEmbeddingResult,
)

__all__ = ["TextEmbeddingInvocation"]


class TextEmbeddingInvocation(BackwardsInvocation):
    """`session.model.text_embedding`."""

    def invoke(
        self,
        model_config: TextEmbeddingModelConfig | dict[str, Any],
        texts: list[str],
        input_type: EmbeddingInputType = EmbeddingInputType.QUERY,
    ) -> TextEmbeddingResult:
        """Make a vector of each text."""
        config = TextEmbeddingModelConfig.model_validate(model_config)
        request = {
            **config.model_dump(mode="json"),
            "texts": texts,
            "input_type": EmbeddingInputType(input_type).value,
        }
        answer: TextEmbeddingResult = self._invoke_once(InvokeType.TextEmbedding, TextEmbeddingResult, request)
        return answer

    def invoke_multimodal(
        self,
        model_config: MultiModalEmbeddingModelConfig | dict[str, Any],
        documents: list[MultiModalContent],
        input_type: EmbeddingInputType = EmbeddingInputType.QUERY,
    ) -> MultiModalEmbeddingResult:
        """Make a vector of each document."""
        config = MultiModalEmbeddingModelConfig.model_validate(model_config)
        request = {
            **config.model_dump(mode="json"),
            "documents": plain(documents),
            "input_type": EmbeddingInputType(input_type).value,
        }
        answer: MultiModalEmbeddingResult = self._invoke_once(
            InvokeType.MultimodalEmbedding, MultiModalEmbeddingResult, request
        )
        return answer
