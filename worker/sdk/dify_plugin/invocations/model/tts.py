"""Calls of models that speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.entities.model.tts import TTSModelConfig, TTSResult

__all__ = ["TTSInvocation"]


class TTSInvocation(BackwardsInvocation):
    """`session.model.tts`."""

    def invoke(self, model_config: TTSModelConfig | dict[str, Any], content_text: str) -> Iterator[bytes]:
        """Say a text; an iterator over pieces of sound."""
        config = TTSModelConfig.model_validate(model_config)
        request = {**config.model_dump(mode="json"), "content_text": content_text}
        for piece in self._backwards_invoke(InvokeType.TTS, TTSResult, request):
            yield piece.result if isinstance(piece.result, bytes) else bytes.fromhex(piece.result)
