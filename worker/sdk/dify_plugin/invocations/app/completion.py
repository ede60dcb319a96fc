"""Calls of completion apps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["CompletionAppInvocation"]


class CompletionAppInvocation(BackwardsInvocation):
    """`session.app.completion`."""

    def invoke(
        self,
        app_id: str,
        inputs: dict[str, Any],
        response_mode: str = "blocking",
        user: str | None = None,
    ) -> Iterator[dict[str, Any]] | dict[str, Any]:
        """Complete a text.

        Returns:
            An iterator over its events, or the whole answer where the mode is `blocking`.
        """
        request = {
            "app_id": app_id,
            "inputs": inputs,
            "response_mode": response_mode,
            "user": user,
        }
        if response_mode == "streaming":
            return self._backwards_invoke(InvokeType.App, dict, request)
        answer: dict[str, Any] = self._invoke_once(InvokeType.App, dict, request)
        return answer
