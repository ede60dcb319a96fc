"""Calls of chat apps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["ChatAppInvocation"]


class ChatAppInvocation(BackwardsInvocation):
    """`session.app.chat`."""

    def invoke(  # noqa: PLR0917 - the SDK's parameters
        self,
        app_id: str,
        query: str,
        inputs: dict[str, Any],
        response_mode: str = "streaming",
        conversation_id: str | None = None,
        user: str | None = None,
    ) -> Iterator[dict[str, Any]] | dict[str, Any]:
        """Send a message.

        Returns:
            An iterator over its events, or the whole answer where the mode is `blocking`.
        """
        request = {
            "app_id": app_id,
            "query": query,
            "inputs": inputs,
            "response_mode": response_mode,
            "conversation_id": conversation_id,
            "user": user,
        }
        if response_mode == "streaming":
            return self._backwards_invoke(InvokeType.App, dict, request)
        answer: dict[str, Any] = self._invoke_once(InvokeType.App, dict, request)
        return answer
