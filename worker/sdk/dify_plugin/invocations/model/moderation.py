"""Calls of models that judge texts."""

from __future__ import annotations

from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.model.moderation import ModerationModelConfig, ModerationResult

__all__ = ["ModerationInvocation"]


class ModerationInvocation(BackwardsInvocation):
    """`session.model.moderation`."""

    def invoke(self, model_config: ModerationModelConfig | dict[str, Any], text: str) -> bool:
        """Tell whether a text is objected to."""
        request = {**ModerationModelConfig.model_validate(model_config).model_dump(mode="json"), "text": text}
        return bool(self._invoke_once(InvokeType.Moderation, ModerationResult, request).result)
