"""Calls of tools."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["ToolInvocation"]


class ToolInvocation(BackwardsInvocation):
    """`session.tool`."""

    def invoke(self, *given: Any, **named: Any) -> Any:
        """Run a tool."""
        return self._backwards_invoke(InvokeType.Tool, *given, **named)

    def invoke_builtin_tool(self, *given: Any, **named: Any) -> Any:
        """Run a tool of a plugin."""
        return self._backwards_invoke(InvokeType.Tool, *given, **named)

    def invoke_workflow_tool(self, *given: Any, **named: Any) -> Any:
        """Run a workflow as a tool."""
        return self._backwards_invoke(InvokeType.Tool, *given, **named)

    def invoke_api_tool(self, *given: Any, **named: Any) -> Any:
        """Run an API as a tool."""
        return self._backwards_invoke(InvokeType.Tool, *given, **named)
