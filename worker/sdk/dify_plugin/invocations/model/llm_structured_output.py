"""Calls of language models whose answer has a given structure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.model.llm import (
    LLMModelConfig,
    LLMResultChunkWithStructuredOutput,
    LLMResultWithStructuredOutput,
    LLMUsage,
)
from dify_plugin.entities.model.message import AssistantPromptMessage, PromptMessage, PromptMessageTool
from dify_plugin.invocations.model.llm import join_chunks, make_llm_request

__all__ = ["LLMStructuredOutputInvocation"]


class LLMStructuredOutputInvocation(BackwardsInvocation):
    """`session.model.llm_structured_output`."""

    def invoke(  # noqa: PLR0917 - the SDK's parameters
        self,
        model_config: LLMModelConfig | dict[str, Any],
        prompt_messages: list[PromptMessage],
        structured_output_schema: dict[str, Any],
        tools: list[PromptMessageTool] | None = None,
        stop: list[str] | None = None,
        stream: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[LLMResultChunkWithStructuredOutput] | LLMResultWithStructuredOutput:
        """Ask the model; an iterator over the pieces of its answer, or all of it where `stream` is false."""
        request = make_llm_request(model_config, prompt_messages, tools, stop, stream)
        request["structured_output_schema"] = structured_output_schema
        chunks = self._backwards_invoke(InvokeType.LLMStructuredOutput, LLMResultChunkWithStructuredOutput, request)
        if stream:
            return chunks
        result = LLMResultWithStructuredOutput(
            model=request.get("model", ""),
            message=AssistantPromptMessage(content=""),
            usage=LLMUsage.empty_usage(),
        )
        joined: LLMResultWithStructuredOutput = join_chunks(result, chunks)
        return joined
