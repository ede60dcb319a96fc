"""What models for ranking take and give."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType

__all__ = ["RerankDocument", "RerankModelConfig", "RerankResult"]


class RerankDocument(Data):
    """A document with its score."""


class RerankResult(Data):
    """Documents, best first."""


class RerankModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.RERANK
