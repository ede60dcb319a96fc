"""Calls of workflow apps."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["WorkflowAppInvocation"]


class WorkflowAppInvocation(BackwardsInvocation):
    """`session.app.workflow`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Run a workflow."""
        return self._backwards_invoke(InvokeType.App, *given, **named)
