"""Records about tools."""

from __future__ import annotations

from enum import Enum, StrEnum

from dify_plugin.data import Data
from dify_plugin.entities import I18nObject, ParameterOption
from dify_plugin.entities.invoke_message import InvokeMessage

__all__ = [
    "ToolDescription",
    "ToolIdentity",
    "ToolInvokeMessage",
    "ToolParameter",
    "ToolParameterOption",
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

    _kinds = {"label": I18nObject}  # noqa: RUF012


class ToolDescription(Data):
    """What a tool does, in words for people and in words for a model."""

    _kinds = {"human": I18nObject}  # noqa: RUF012


class ToolParameterOption(ParameterOption):
    """A value to choose for a parameter."""


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

    _kinds = {  # noqa: RUF012
        "label": I18nObject,
        "human_description": I18nObject,
        "type": ToolParameterType,
        "form": ToolParameterForm,
        "options": [ToolParameterOption],
    }

    auto_generate = None
    template = None
    scope = None
    llm_description = None
    required = False
    multiple = False
    default = None
    min = None
    max = None
    precision = None
    options: list[ToolParameterOption] | None = None
    input_schema = None


class ToolSelector(Data):
    """A tool, selected in a setting."""
