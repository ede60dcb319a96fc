"""The session of an endpoint, and the calls back to Dify that begin there."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = [
    "AppInvocations",
    "BackwardsInvocation",
    "InvokeCredentials",
    "ModelInvocations",
    "ReverseCallError",
    "Session",
    "SessionContext",
    "WorkflowNodeInvocations",
]

MAX_INVOCATION_TIMEOUT: Final = 250
"""Seconds; the SDK's default."""


class ReverseCallError(RuntimeError):
    """A call back to Dify that could not be made, or failed. Not a ValueError: that would become an answer 404."""


class BackwardsInvocation:
    """A kind of call back to Dify.

    Args:
        session: The session that it is made in.
    """

    def __init__(self, session: Session | None = None) -> None:
        self.session = session

    def __class_getitem__(cls, _item: object) -> type[BackwardsInvocation]:
        return cls

    def _backwards_invoke(self, type: Any, data_type: Any, data: Mapping[str, Any]) -> Iterator[Any]:  # noqa: A002
        """Make a call when the first item is asked for, and iterate over the items of its answer.

        Args:
            type: One of `InvokeType`.
            data_type: What the items become, made of their values as keywords.
            data: The request.

        Raises:
            ReverseCallError: The call failed, or nothing has come for `max_invocation_timeout` seconds.
        """
        calls = self.session.calls if self.session is not None else None
        if self.session is None or calls is None:
            raise ReverseCallError("current tool runtime does not support backwards invoke")
        seconds = self.session.max_invocation_timeout
        call = _checked(calls.open, type.value, data)
        try:
            while True:
                items = _checked(call.read, seconds)
                if items:
                    yield data_type(**items[0])
                elif call.over:
                    return
                else:
                    raise ReverseCallError(f"invocation exited without response after {seconds} seconds")
        finally:
            call.close()

    def _invoke_once(self, type: Any, data_type: Any, data: Mapping[str, Any]) -> Any:  # noqa: A002
        """Make a call that has one answer, and return it."""
        items = self._backwards_invoke(type, data_type, data)
        try:
            return next(items)
        except StopIteration:
            raise ReverseCallError(f"no response to the call {type.value}") from None
        finally:
            items.close()  # type: ignore[attr-defined]  # a generator


def _checked(function: Any, *given: Any) -> Any:
    """Call something of the executor's, whose errors are not known here."""
    try:
        return function(*given)
    except Exception as error:  # noqa: BLE001 - whatever it is, the endpoint is told in one class
        raise ReverseCallError(str(error)) from None


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
        given: `endpoint_id` (the hook), `calls`, which makes calls, and, always None for endpoints, `conversation_id`,
            `message_id`, `app_id`.
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
        self.calls: Any = given.get("calls")
        self.context: SessionContext = given.get("context") or SessionContext()
        self.app = AppInvocations(self)
        self.model = ModelInvocations(self)
        self.workflow_node = WorkflowNodeInvocations(self)

    @classmethod
    def empty_session(cls) -> Session:
        """Return a session of nobody."""
        return cls()
