"""Calls of a question classifier."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["QuestionClassifierNodeInvocation"]


class QuestionClassifierNodeInvocation(BackwardsInvocation):
    """`session.workflow_node.question_classifier`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Classify a question."""
        return self._backwards_invoke(InvokeType.NodeQuestionClassifier, *given, **named)
