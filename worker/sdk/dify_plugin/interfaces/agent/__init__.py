"""Base classes of agents, which the executor does not run: the names are here to be imported."""

from __future__ import annotations

from dify_plugin.interfaces.tool import ToolLike, ToolProvider

__all__ = ["AgentProvider", "AgentStrategy"]


class AgentProvider(ToolProvider):
    """Who provides an agent."""


class AgentStrategy(ToolLike):
    """An agent."""
