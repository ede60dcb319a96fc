"""What language models take and give."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType, ModelUsage

__all__ = [
    "LLMMode",
    "LLMModelConfig",
    "LLMResult",
    "LLMResultChunk",
    "LLMResultChunkDelta",
    "LLMUsage",
    "SummaryResult",
]


class LLMMode(Enum):
    """How a language model is asked."""

    COMPLETION = "completion"
    CHAT = "chat"


class LLMModelConfig(BaseModelConfig):
    """A language model, selected in a setting."""

    model_type = ModelType.LLM
    completion_params: ClassVar[dict[str, Any]] = {}


class LLMUsage(ModelUsage):
    """Tokens and price of a call."""

    prompt_tokens = 0
    completion_tokens = 0
    total_tokens = 0
    prompt_price = 0
    completion_price = 0
    total_price = 0
    currency = "USD"
    latency = 0.0

    @classmethod
    def empty_usage(cls) -> LLMUsage:
        """Return the usage of nothing."""
        return cls()


class LLMResultChunkDelta(Data):
    """What a piece of an answer adds."""

    usage = None
    finish_reason = None


class LLMResultChunk(Data):
    """A piece of an answer."""

    system_fingerprint = None
    prompt_messages: ClassVar[list[Any]] = []


class LLMResult(Data):
    """A whole answer."""

    system_fingerprint = None
    prompt_messages: ClassVar[list[Any]] = []


class SummaryResult(Data):
    """A summary."""
