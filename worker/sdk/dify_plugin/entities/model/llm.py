"""What language models take and give."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType, ModelUsage
from dify_plugin.entities.model.message import AssistantPromptMessage

__all__ = [
    "LLMMode",
    "LLMModelConfig",
    "LLMResult",
    "LLMResultChunk",
    "LLMResultChunkDelta",
    "LLMResultChunkWithStructuredOutput",
    "LLMResultWithStructuredOutput",
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

    _kinds = {"message": AssistantPromptMessage, "usage": LLMUsage}  # noqa: RUF012

    usage = None
    finish_reason = None


class LLMResultChunk(Data):
    """A piece of an answer."""

    _kinds = {"delta": LLMResultChunkDelta}  # noqa: RUF012

    system_fingerprint = None
    prompt_messages: ClassVar[list[Any]] = []


class LLMResult(Data):
    """A whole answer."""

    _kinds = {"message": AssistantPromptMessage, "usage": LLMUsage}  # noqa: RUF012

    system_fingerprint = None
    prompt_messages: ClassVar[list[Any]] = []


class LLMResultChunkWithStructuredOutput(LLMResultChunk):
    """A piece of an answer, or its structure."""

    structured_output: ClassVar[Any] = None


class LLMResultWithStructuredOutput(LLMResult):
    """A whole answer, and its structure."""

    structured_output: ClassVar[Any] = None


class SummaryResult(Data):
    """A summary."""
