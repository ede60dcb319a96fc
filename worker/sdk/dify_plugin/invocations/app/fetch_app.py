"""What is known about an app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["FetchAppInvocation"]


class FetchAppInvocation(BackwardsInvocation):
    """`session.app.fetch_app`."""

    def get(self, app_id: str) -> Mapping[str, Any]:
        """Return what is known about an app."""
        answer: Mapping[str, Any] = self._invoke_once(InvokeType.FetchApp, dict, {"app_id": app_id})
        return answer
