"""Files for Dify."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation

__all__ = ["File"]


class File(BackwardsInvocation):
    """`session.file`."""

    def upload(self, *given: Any, **named: Any) -> Any:
        """Upload a file."""
        return self._backwards_invoke(InvokeType.UploadFile, *given, **named)
