"""The session of an endpoint, and the calls back to Dify that begin there."""

from __future__ import annotations

import importlib
from typing import Any, Final, NoReturn

__all__ = [
    "REVERSE_CALLS_REFUSED",
    "AppInvocations",
    "BackwardsInvocation",
    "InvokeCredentials",
    "ModelInvocations",
    "ReverseCallError",
    "Session",
    "SessionContext",
    "WorkflowNodeInvocations",
]

REVERSE_CALLS_REFUSED: Final = (
    "reverse calls (session.app, .model, .tool, .workflow_node, .storage, .file) need a connection to Dify, "
    "and this executor has none configured"
)

MAX_INVOCATION_TIMEOUT: Final = 250
"""Seconds; the SDK's default."""


class ReverseCallError(RuntimeError):
    """A call back to Dify that cannot be made. Not a ValueError: that would become an answer 404."""


class BackwardsInvocation:
    """A kind of call back to Dify.

    Args:
        session: The session that it is made in.
    """

    def __init__(self, session: Session | None = None) -> None:
        self.session = session

    def __class_getitem__(cls, _item: object) -> type[BackwardsInvocation]:
        return cls

    def _backwards_invoke(self, *_given: Any, **_named: Any) -> NoReturn:
        raise ReverseCallError(REVERSE_CALLS_REFUSED)


class _Group:
    """Kinds of calls, each made when it is first used."""

    _kinds: dict[str, tuple[str, str]]

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        place = self._kinds.get(name)
        if place is None:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        module, kind = place
        call = getattr(importlib.import_module(f"dify_plugin.invocations.{module}"), kind)(self._session)
        setattr(self, name, call)
        return call


class ModelInvocations(_Group):
    """Calls of models: `session.model`."""

    _kinds = {  # noqa: RUF012
        "llm": ("model.llm", "LLMInvocation"),
        "llm_structured_output": ("model.llm_structured_output", "LLMStructuredOutputInvocation"),
        "moderation": ("model.moderation", "ModerationInvocation"),
        "rerank": ("model.rerank", "RerankInvocation"),
        "speech2text": ("model.speech2text", "Speech2TextInvocation"),
        "summary": ("model.llm", "SummaryInvocation"),
        "text_embedding": ("model.text_embedding", "TextEmbeddingInvocation"),
        "tts": ("model.tts", "TTSInvocation"),
    }


class AppInvocations(_Group):
    """Calls of apps: `session.app`."""

    _kinds = {  # noqa: RUF012
        "chat": ("app.chat", "ChatAppInvocation"),
        "completion": ("app.completion", "CompletionAppInvocation"),
        "fetch_app_invocation": ("app.fetch_app", "FetchAppInvocation"),
        "workflow": ("app.workflow", "WorkflowAppInvocation"),
    }

    def fetch_app(self, app_id: str) -> Any:
        """Fetch what is known about an app."""
        return self.fetch_app_invocation.get(app_id)


class WorkflowNodeInvocations(_Group):
    """Calls of single nodes of workflows: `session.workflow_node`."""

    _kinds = {  # noqa: RUF012
        "parameter_extractor": ("workflow_node.parameter_extractor", "ParameterExtractorNodeInvocation"),
        "question_classifier": ("workflow_node.question_classifier", "QuestionClassifierNodeInvocation"),
    }


class InvokeCredentials:
    """Credentials chosen for tools, by provider.

    Args:
        tool_credentials: Identifiers of credentials by provider.
    """

    def __init__(self, tool_credentials: dict[str, str] | None = None) -> None:
        self.tool_credentials = tool_credentials or {}

    def get_credential_id(self, provider: str) -> str | None:
        """Return the identifier of the credential chosen for a provider."""
        return self.tool_credentials.get(provider)


class SessionContext:
    """What holds for a whole session.

    Args:
        credentials: Credentials chosen for tools.
    """

    def __init__(self, credentials: InvokeCredentials | None = None) -> None:
        self.credentials = credentials or InvokeCredentials()


class Session(_Group):
    """Who is called, and the way to call Dify.

    Args:
        session_id: Identifier of the invocation.
        given: `endpoint_id` (the hook) and, always None for endpoints, `conversation_id`, `message_id`, `app_id`.
    """

    _kinds = {  # noqa: RUF012
        "file": ("file", "File"),
        "storage": ("storage", "StorageInvocation"),
        "tool": ("tool", "ToolInvocation"),
    }

    def __init__(self, session_id: str = "", **given: Any) -> None:
        super().__init__(self)
        self.session_id = session_id
        self.endpoint_id: str | None = given.get("endpoint_id")
        self.conversation_id: str | None = given.get("conversation_id")
        self.message_id: str | None = given.get("message_id")
        self.app_id: str | None = given.get("app_id")
        self.install_method: Any = given.get("install_method")
        self.dify_plugin_daemon_url: str | None = given.get("dify_plugin_daemon_url")
        self.max_invocation_timeout: int = given.get("max_invocation_timeout", MAX_INVOCATION_TIMEOUT)
        self.context: SessionContext = given.get("context") or SessionContext()
        self.app = AppInvocations(self)
        self.model = ModelInvocations(self)
        self.workflow_node = WorkflowNodeInvocations(self)

    @classmethod
    def empty_session(cls) -> Session:
        """Return a session of nobody."""
        return cls()
