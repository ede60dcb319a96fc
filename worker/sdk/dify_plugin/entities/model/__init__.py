"""Records about models."""

from __future__ import annotations

from enum import Enum

from dify_plugin.data import Data

__all__ = ["BaseModelConfig", "EmbeddingInputType", "ModelFeature", "ModelType", "ModelUsage", "PriceInfo"]


class ModelType(Enum):
    """What a model does."""

    LLM = "llm"
    TEXT_EMBEDDING = "text-embedding"
    RERANK = "rerank"
    SPEECH2TEXT = "speech2text"
    MODERATION = "moderation"
    TTS = "tts"
    TEXT2IMG = "text2img"


class ModelFeature(Enum):
    """What a language model can do besides."""

    TOOL_CALL = "tool-call"
    MULTI_TOOL_CALL = "multi-tool-call"
    AGENT_THOUGHT = "agent-thought"
    VISION = "vision"
    STREAM_TOOL_CALL = "stream-tool-call"
    DOCUMENT = "document"
    VIDEO = "video"
    AUDIO = "audio"
    STRUCTURED_OUTPUT = "structured-output"


class EmbeddingInputType(Enum):
    """What the vector of a text is for."""

    DOCUMENT = "document"
    QUERY = "query"


class BaseModelConfig(Data):
    """A model, selected in a setting: provider, name, type."""


class ModelUsage(Data):
    """What a call has used."""


class PriceInfo(Data):
    """What a call costs."""
