"""What models for vectors take and give."""

from __future__ import annotations

from enum import StrEnum

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType, ModelUsage

__all__ = [
    "EmbeddingUsage",
    "MultiModalContent",
    "MultiModalContentType",
    "MultiModalEmbeddingModelConfig",
    "MultiModalEmbeddingResult",
    "TextEmbeddingModelConfig",
    "TextEmbeddingResult",
]


class EmbeddingUsage(ModelUsage):
    """Tokens and price of a call."""


class TextEmbeddingResult(Data):
    """Vectors of texts."""

    _kinds = {"usage": EmbeddingUsage}  # noqa: RUF012


class TextEmbeddingModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.TEXT_EMBEDDING


class MultiModalContentType(StrEnum):
    """What a document is."""

    TEXT = "text"
    IMAGE = "image"


class MultiModalContent(Data):
    """A document: a text, or a file in base64."""

    _kinds = {"content_type": MultiModalContentType}  # noqa: RUF012


class MultiModalEmbeddingResult(TextEmbeddingResult):
    """Vectors of documents."""


class MultiModalEmbeddingModelConfig(TextEmbeddingModelConfig):
    """A model, selected in a setting."""
