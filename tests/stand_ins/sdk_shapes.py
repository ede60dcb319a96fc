"""What the real SDK makes of answers: the shapes of `dify_plugin.entities` 0.10.2, written down for where it is not.

`tests/executor/reverse/targets/test_real_sdk.py` checks the same answers with the SDK itself.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

__all__ = [
    "LlmChunk",
    "LlmUsage",
    "ModerationAnswer",
    "StructuredChunk",
    "SummaryAnswer",
    "TextEmbeddingAnswer",
    "TranscriptionAnswer",
    "TtsPart",
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Function(_Shape):
    name: str
    arguments: str


class _ToolCall(_Shape):
    id: str
    type: Literal["function"]
    function: _Function


class _Message(_Shape):
    role: Literal["assistant"]
    content: str
    name: str | None
    tool_calls: list[_ToolCall]


class LlmUsage(_Shape):
    """`LLMUsage`."""

    prompt_tokens: int
    prompt_unit_price: Decimal
    prompt_price_unit: Decimal
    prompt_price: Decimal
    completion_tokens: int
    completion_unit_price: Decimal
    completion_price_unit: Decimal
    completion_price: Decimal
    total_tokens: int
    total_price: Decimal
    currency: str
    latency: float


class _Delta(_Shape):
    index: int
    message: _Message
    usage: LlmUsage | None
    finish_reason: str | None


class LlmChunk(_Shape):
    """`LLMResultChunk`."""

    model: str
    prompt_messages: list[Any]
    system_fingerprint: str | None
    delta: _Delta


class StructuredChunk(LlmChunk):
    """`LLMResultChunkWithStructuredOutput`."""

    structured_output: dict[str, Any] | None


class SummaryAnswer(_Shape):
    """`SummaryResult`."""

    summary: str


class _EmbeddingUsage(_Shape):
    tokens: int
    total_tokens: int
    unit_price: Decimal
    price_unit: Decimal
    total_price: Decimal
    currency: str
    latency: float


class TextEmbeddingAnswer(_Shape):
    """`TextEmbeddingResult`."""

    model: str
    embeddings: list[list[float]]
    usage: _EmbeddingUsage


class TtsPart(_Shape):
    """`TTSResult`; `result` is hexadecimal."""

    result: str
    mime_type: str | None


class TranscriptionAnswer(_Shape):
    """`Speech2TextResult`."""

    result: str


class ModerationAnswer(_Shape):
    """`ModerationResult`."""

    result: bool
