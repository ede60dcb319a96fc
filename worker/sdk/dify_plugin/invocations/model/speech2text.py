"""Calls of models that write down speech."""

from __future__ import annotations

from typing import IO, Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.model.speech2text import Speech2TextModelConfig, Speech2TextResult

__all__ = ["Speech2TextInvocation"]


class Speech2TextInvocation(BackwardsInvocation):
    """`session.model.speech2text`."""

    def invoke(self, model_config: Speech2TextModelConfig | dict[str, Any], file: IO[bytes]) -> str:
        """Write down what is said in a file."""
        config = Speech2TextModelConfig.model_validate(model_config)
        request = {**config.model_dump(mode="json"), "file": file.read()}
        text: str = self._invoke_once(InvokeType.Speech2Text, Speech2TextResult, request).result
        return text
