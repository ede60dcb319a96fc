"""Records about tools."""

from __future__ import annotations

from enum import Enum, StrEnum

from dify_plugin.data import Data
from dify_plugin.entities.invoke_message import InvokeMessage

__all__ = [
    "ToolIdentity",
    "ToolInvokeMessage",
    "ToolParameter",
    "ToolProviderType",
    "ToolRuntime",
    "ToolSelector",
]


class ToolProviderType(Enum):
    """Who provides a tool."""

    BUILT_IN = "builtin"
    WORKFLOW = "workflow"
    API = "api"
    APP = "app"
    DATASET_RETRIEVAL = "dataset-retrieval"
    MCP = "mcp"


class ToolRuntime(Data):
    """Who uses a tool, and with which credentials."""

    user_id = None
    session_id = None


class ToolInvokeMessage(InvokeMessage):
    """One message of a tool."""


class ToolIdentity(Data):
    """Author, name and label of a tool."""


class ToolParameter(Data):
    """The declaration of a parameter."""

    class ToolParameterType(StrEnum):
        """Types of parameters."""

        STRING = "string"
        NUMBER = "number"
        BOOLEAN = "boolean"
        SELECT = "select"
        SECRET_INPUT = "secret-input"  # noqa: S105 - the name of a type
        FILE = "file"
        FILES = "files"
        MODEL_SELECTOR = "model-selector"
        APP_SELECTOR = "app-selector"
        CHECKBOX = "checkbox"
        ANY = "any"
        OBJECT = "object"
        ARRAY = "array"
        DYNAMIC_SELECT = "dynamic-select"

    class ToolParameterForm(Enum):
        """Who gives a parameter its value."""

        SCHEMA = "schema"
        FORM = "form"
        LLM = "llm"

    required = False
    default = None
    options = None


class ToolSelector(Data):
    """A tool, selected in a setting."""
