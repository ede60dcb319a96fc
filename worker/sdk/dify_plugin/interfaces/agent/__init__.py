"""Base classes of agents, which the executor does not run, and records about the tools that they are given.

Endpoints use the records too, for the tools that are selected in a setting.
"""

from __future__ import annotations

from dify_plugin.data import Data
from dify_plugin.entities.model.llm import LLMModelConfig
from dify_plugin.entities.provider_config import CredentialType
from dify_plugin.entities.tool import ToolDescription, ToolIdentity, ToolParameter, ToolProviderType
from dify_plugin.interfaces.tool import ToolLike, ToolProvider

__all__ = ["AgentModelConfig", "AgentProvider", "AgentStrategy", "AgentToolIdentity", "ToolEntity"]


class AgentProvider(ToolProvider):
    """Who provides an agent."""


class AgentStrategy(ToolLike):
    """An agent."""


class AgentModelConfig(LLMModelConfig):
    """The model of an agent, and the messages before."""

    entity = None
    history_prompt_messages: list[Data] = []  # noqa: RUF012 - a default, copied for each record


class AgentToolIdentity(ToolIdentity):
    """Author, name, label and provider of a tool."""


class ToolEntity(Data):
    """A tool that was selected, with what was set for it."""

    _kinds = {  # noqa: RUF012
        "identity": AgentToolIdentity,
        "parameters": [ToolParameter],
        "description": ToolDescription,
        "credential_type": CredentialType,
    }

    parameters: list[ToolParameter] = []  # noqa: RUF012 - a default, copied for each record
    description = None
    output_schema = None
    credential_id = None
    credential_type = None
    has_runtime_parameters = False
    provider_type = ToolProviderType.BUILT_IN
    runtime_parameters: dict[str, object] = {}  # noqa: RUF012 - a default, copied for each record

    def __init__(self, **given: object) -> None:
        super().__init__(**(given | {"parameters": given.get("parameters") or []}))
