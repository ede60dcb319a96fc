"""TextEmbeddingModel, under the name of the SDK's module."""

from __future__ import annotations

from dify_plugin.interfaces.model import TextEmbeddingModel

__all__ = ["TextEmbeddingModel"]
