"""Calls of language models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.data import plain
from dify_plugin.entities.model.llm import LLMModelConfig, LLMResult, LLMResultChunk, LLMUsage, SummaryResult
from dify_plugin.entities.model.message import AssistantPromptMessage, PromptMessage, PromptMessageTool

__all__ = ["LLMInvocation", "SummaryInvocation", "join_chunks", "make_llm_request"]


def make_llm_request(
    model_config: LLMModelConfig | dict[str, Any],
    prompt_messages: list[PromptMessage],
    tools: list[PromptMessageTool] | None,
    stop: list[str] | None,
    stream: bool,  # noqa: FBT001
) -> dict[str, Any]:
    """Put a question to a language model into the form of a request."""
    return {
        **LLMModelConfig.model_validate(model_config).model_dump(mode="json"),
        "prompt_messages": plain(prompt_messages),
        "tools": plain(tools) if tools else None,
        "stop": stop,
        "stream": stream,
    }


def join_chunks(result: Any, chunks: Iterable[Any]) -> Any:
    """Put the pieces of an answer together."""
    for chunk in chunks:
        message, usage = chunk.delta.message, chunk.delta.usage
        if isinstance(message.content, str):
            result.message.content += message.content
        if message.tool_calls:
            result.message.tool_calls = message.tool_calls
        if usage:
            for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
                setattr(result.usage, name, getattr(result.usage, name) + getattr(usage, name))
            for name in ("completion_price", "prompt_price", "total_price", "currency", "latency"):
                setattr(result.usage, name, getattr(usage, name))
        if getattr(chunk, "structured_output", None):
            result.structured_output = chunk.structured_output
    return result


class LLMInvocation(BackwardsInvocation):
    """`session.model.llm`."""

    def invoke(
        self,
        model_config: LLMModelConfig | dict[str, Any],
        prompt_messages: list[PromptMessage],
        tools: list[PromptMessageTool] | None = None,
        stop: list[str] | None = None,
        stream: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[LLMResultChunk] | LLMResult:
        """Ask the model; an iterator over the pieces of its answer, or all of it where `stream` is false."""
        request = make_llm_request(model_config, prompt_messages, tools, stop, stream)
        chunks = self._backwards_invoke(InvokeType.LLM, LLMResultChunk, request)
        if stream:
            return chunks
        message = AssistantPromptMessage(content="")
        result = LLMResult(model=request.get("model", ""), message=message, usage=LLMUsage.empty_usage())
        joined: LLMResult = join_chunks(result, chunks)
        return joined


class SummaryInvocation(BackwardsInvocation):
    """`session.model.summary`."""

    def invoke(self, text: str, instruction: str, min_summarize_length: int = 1024) -> str:
        """Summarise a text; one that is shorter than `min_summarize_length` characters is its own summary."""
        if len(text) < min_summarize_length:
            return text
        request = {"text": text, "instruction": instruction}
        summary: str = self._invoke_once(InvokeType.SYSTEM_SUMMARY, SummaryResult, request).summary
        return summary
