"""Calls of a parameter extractor."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["ParameterExtractorNodeInvocation"]


class ParameterExtractorNodeInvocation(BackwardsInvocation):
    """`session.workflow_node.parameter_extractor`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Extract parameters."""
        return self._backwards_invoke(InvokeType.NodeParameterExtractor, *given, **named)
