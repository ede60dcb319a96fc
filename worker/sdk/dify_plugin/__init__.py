"""A stand-in for the Dify plugin SDK: what endpoint code imports from it.

It is used where the real SDK is not installed. The names and their places are those of the SDK; the code is our own.
Calls to Dify go through the executor; those that fail raise `ReverseCallError` (`dify_plugin.core.runtime`). Only what
every endpoint needs is imported at once; the other names are looked up when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from dify_plugin.interfaces.endpoint import Endpoint

if TYPE_CHECKING:
    from dify_plugin.config.config import DifyPluginEnv
    from dify_plugin.core.session_context import get_current_session
    from dify_plugin.interfaces.agent import AgentProvider, AgentStrategy
    from dify_plugin.interfaces.model import (
        LargeLanguageModel,
        ModelProvider,
        ModerationModel,
        RerankModel,
        Speech2TextModel,
        TextEmbeddingModel,
        TTSModel,
    )
    from dify_plugin.interfaces.tool import Tool, ToolProvider
    from dify_plugin.invocations.file import File
    from dify_plugin.plugin import Plugin

__all__ = [
    "AgentProvider",
    "AgentStrategy",
    "DifyPluginEnv",
    "Endpoint",
    "File",
    "LargeLanguageModel",
    "ModelProvider",
    "ModerationModel",
    "Plugin",
    "RerankModel",
    "Speech2TextModel",
    "TTSModel",
    "TextEmbeddingModel",
    "Tool",
    "ToolProvider",
    "get_current_session",
]

_PLACES: Final = {
    "AgentProvider": "dify_plugin.interfaces.agent",
    "AgentStrategy": "dify_plugin.interfaces.agent",
    "DifyPluginEnv": "dify_plugin.config.config",
    "File": "dify_plugin.invocations.file",
    "LargeLanguageModel": "dify_plugin.interfaces.model",
    "ModelProvider": "dify_plugin.interfaces.model",
    "ModerationModel": "dify_plugin.interfaces.model",
    "Plugin": "dify_plugin.plugin",
    "RerankModel": "dify_plugin.interfaces.model",
    "Speech2TextModel": "dify_plugin.interfaces.model",
    "TTSModel": "dify_plugin.interfaces.model",
    "TextEmbeddingModel": "dify_plugin.interfaces.model",
    "Tool": "dify_plugin.interfaces.tool",
    "ToolProvider": "dify_plugin.interfaces.tool",
    "get_current_session": "dify_plugin.core.session_context",
}


def __getattr__(name: str) -> Any:
    """Look up a name that is not needed by every endpoint."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"the bundled dify_plugin has no {name}; install the Dify SDK where it is needed")
    return getattr(importlib.import_module(place), name)
