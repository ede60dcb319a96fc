"""What models for ranking take and give."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model import BaseModelConfig, ModelType

__all__ = [
    "MultiModalRerankModelConfig",
    "MultiModalRerankResult",
    "RerankDocument",
    "RerankModelConfig",
    "RerankResult",
]


class RerankDocument(Data):
    """A document with its score."""


class RerankResult(Data):
    """Documents, best first."""

    _kinds = {"docs": [RerankDocument]}  # noqa: RUF012


class RerankModelConfig(BaseModelConfig):
    """A model, selected in a setting."""

    model_type = ModelType.RERANK


class MultiModalRerankResult(RerankResult):
    """Documents of any form, best first."""


class MultiModalRerankModelConfig(RerankModelConfig):
    """A model, selected in a setting."""

    score_threshold = None
    top_n = None
