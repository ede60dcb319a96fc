"""Records about single nodes of workflows."""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model.llm import LLMMode

__all__ = ["ClassConfig", "ModelConfig", "NodeResponse", "ParameterConfig"]


class NodeResponse(Data):
    """What a node has done."""


class ModelConfig(Data):
    """The model that a node uses."""

    mode = LLMMode.CHAT
    completion_params = None


class ParameterConfig(Data):
    """A parameter to extract."""

    description = None
    required = None


class ClassConfig(Data):
    """A class to put a question into."""
