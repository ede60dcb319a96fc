"""Base classes of models, which the executor does not run: the names are here to be imported."""

from __future__ import annotations

__all__ = [
    "AIModel",
    "LargeLanguageModel",
    "ModelProvider",
    "ModerationModel",
    "RerankModel",
    "Speech2TextModel",
    "TTSModel",
    "TextEmbeddingModel",
]


class ModelProvider:
    """Who provides models."""


class AIModel:
    """A model."""


class LargeLanguageModel(AIModel):
    """A language model."""


class ModerationModel(AIModel):
    """A model for moderation."""


class RerankModel(AIModel):
    """A model for ranking."""


class Speech2TextModel(AIModel):
    """A model for transcription."""


class TTSModel(AIModel):
    """A model for speech."""


class TextEmbeddingModel(AIModel):
    """A model for vectors."""
