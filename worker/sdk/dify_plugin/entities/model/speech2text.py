"""What models for transcription take and give."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType

__all__ = ["Speech2TextModelConfig", "Speech2TextResult"]


class Speech2TextModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.SPEECH2TEXT


class Speech2TextResult(Data):
    """The text."""
