"""What models for vectors take and give."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType, ModelUsage

__all__ = ["EmbeddingUsage", "TextEmbeddingModelConfig", "TextEmbeddingResult"]


class EmbeddingUsage(ModelUsage):
    """Tokens and price of a call."""


class TextEmbeddingResult(Data):
    """Vectors of texts."""


class TextEmbeddingModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.TEXT_EMBEDDING
