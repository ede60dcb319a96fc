"""What models for speech take and give."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType

__all__ = ["TTSModelConfig", "TTSResult"]


class TTSModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.TTS


class TTSResult(Data):
    """A piece of sound."""
