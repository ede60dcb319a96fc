"""What is known about an app."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["FetchAppInvocation"]


class FetchAppInvocation(BackwardsInvocation):
    """`session.app.fetch_app`."""

    def get(self, *given: Any, **named: Any) -> Any:
        """Fetch what is known about an app."""
        return self._backwards_invoke(InvokeType.FetchApp, *given, **named)
