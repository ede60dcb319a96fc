"""Calls of a parameter extractor."""

from __future__ import annotations

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.workflow_node import ModelConfig, NodeResponse, ParameterConfig

__all__ = ["ParameterExtractorNodeInvocation"]


class ParameterExtractorNodeInvocation(BackwardsInvocation):
    """`session.workflow_node.parameter_extractor`."""

    def invoke(
        self, parameters: list[ParameterConfig], model: ModelConfig, query: str, instruction: str = ""
    ) -> NodeResponse:
        """Extract parameters."""
        request = {"parameters": parameters, "model": model, "query": query, "instruction": instruction}
        answer: NodeResponse = self._invoke_once(InvokeType.NodeParameterExtractor, NodeResponse, request)
        return answer
