"""Records about models, under the name of the SDK's module."""

from __future__ import annotations

from dify_plugin.entities.model import (
    BaseModelConfig,
    EmbeddingInputType,
    ModelFeature,
    ModelType,
    ModelUsage,
    PriceInfo,
)

__all__ = ["BaseModelConfig", "EmbeddingInputType", "ModelFeature", "ModelType", "ModelUsage", "PriceInfo"]
