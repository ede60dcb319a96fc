"""What models for moderation take and give."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType

__all__ = ["ModerationModelConfig", "ModerationResult"]


class ModerationModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.MODERATION


class ModerationResult(Data):
    """Whether a text is objectionable."""
