"""Calls of a question classifier."""

from __future__ import annotations

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.workflow_node import ClassConfig, ModelConfig, NodeResponse

__all__ = ["QuestionClassifierNodeInvocation"]


class QuestionClassifierNodeInvocation(BackwardsInvocation):
    """`session.workflow_node.question_classifier`."""

    def invoke(self, classes: list[ClassConfig], model: ModelConfig, query: str, instruction: str = "") -> NodeResponse:
        """Classify a question."""
        request = {"classes": classes, "model": model, "query": query, "instruction": instruction}
        answer: NodeResponse = self._invoke_once(InvokeType.NodeQuestionClassifier, NodeResponse, request)
        return answer
