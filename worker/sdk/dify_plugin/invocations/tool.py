"""Calls of tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.tool import ToolInvokeMessage, ToolProviderType

__all__ = ["ToolInvocation"]


class ToolInvocation(BackwardsInvocation):
    """`session.tool`."""

    def invoke_builtin_tool(
        self, provider: str, tool_name: str, parameters: dict[str, Any]
    ) -> Iterator[ToolInvokeMessage]:
        """Run a tool of a plugin."""
        return self.invoke(ToolProviderType.BUILT_IN, provider, tool_name, parameters)

    def invoke_workflow_tool(
        self, provider: str, tool_name: str, parameters: dict[str, Any]
    ) -> Iterator[ToolInvokeMessage]:
        """Run a workflow as a tool."""
        return self.invoke(ToolProviderType.WORKFLOW, provider, tool_name, parameters)

    def invoke_api_tool(self, provider: str, tool_name: str, parameters: dict[str, Any]) -> Iterator[ToolInvokeMessage]:
        """Run an API as a tool."""
        return self.invoke(ToolProviderType.API, provider, tool_name, parameters)

    def invoke(
        self,
        provider_type: ToolProviderType,
        provider: str,
        tool_name: str,
        parameters: dict[str, Any],
        credential_id: str | None = None,
    ) -> Iterator[ToolInvokeMessage]:
        """Run a tool, and iterate over its messages."""
        request = {
            "tool_type": ToolProviderType(provider_type).value,
            "provider": provider,
            "tool": tool_name,
            "tool_parameters": parameters,
        }
        if self.session is not None and credential_id is None:
            credential_id = self.session.context.credentials.get_credential_id(provider)
        if credential_id is not None:
            request["credential_id"] = credential_id
        return self._backwards_invoke(InvokeType.Tool, ToolInvokeMessage, request)
