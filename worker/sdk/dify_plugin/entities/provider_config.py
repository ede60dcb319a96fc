"""Words of the declarations of settings."""

from __future__ import annotations

from enum import Enum, StrEnum

from dify_plugin.data import Data

__all__ = [
    "AppSelectorScope",
    "CommonParameterType",
    "ConfigOption",
    "CredentialType",
    "LogMetadata",
    "ModelConfigScope",
    "ProviderConfig",
    "ToolSelectorScope",
]


class LogMetadata(StrEnum):
    """Names of what a log message may state about a step."""

    STARTED_AT = "started_at"
    FINISHED_AT = "finished_at"
    ELAPSED_TIME = "elapsed_time"
    TOTAL_PRICE = "total_price"
    TOTAL_TOKENS = "total_tokens"
    PROVIDER = "provider"
    CURRENCY = "currency"


class CommonParameterType(Enum):
    """Types of settings and parameters."""

    SECRET_INPUT = "secret-input"  # noqa: S105 - the name of a type
    TEXT_INPUT = "text-input"
    SELECT = "select"
    STRING = "string"
    NUMBER = "number"
    FILE = "file"
    FILES = "files"
    BOOLEAN = "boolean"
    CHECKBOX = "checkbox"
    APP_SELECTOR = "app-selector"
    MODEL_SELECTOR = "model-selector"
    TOOLS_SELECTOR = "array[tools]"
    ANY = "any"
    OBJECT = "object"
    ARRAY = "array"
    DYNAMIC_SELECT = "dynamic-select"
    DATE = "date"
    DATE_RANGE = "date-range"


class AppSelectorScope(Enum):
    """Apps that may be selected."""

    ALL = "all"
    CHAT = "chat"
    WORKFLOW = "workflow"
    COMPLETION = "completion"


class ModelConfigScope(Enum):
    """Models that may be selected."""

    LLM = "llm"
    TEXT_EMBEDDING = "text-embedding"
    RERANK = "rerank"
    TTS = "tts"
    SPEECH2TEXT = "speech2text"
    MODERATION = "moderation"
    VISION = "vision"


class ToolSelectorScope(Enum):
    """Tools that may be selected."""

    ALL = "all"
    PLUGIN = "plugin"
    API = "api"
    WORKFLOW = "workflow"


class CredentialType(Enum):
    """How a tool is authorised."""

    API_KEY = "api-key"
    OAUTH = "oauth2"
    UNAUTHORIZED = "unauthorized"


class ConfigOption(Data):
    """A value to choose, with its label."""


class ProviderConfig(Data):
    """The declaration of one setting."""

    required = False
    scope = None
    default = None
    options = None
    help = None
    url = None
    placeholder = None
