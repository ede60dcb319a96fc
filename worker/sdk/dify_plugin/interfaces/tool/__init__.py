"""Base classes of tools. The executor does not run tools, but endpoints may share code with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dify_plugin.core.runtime import Session
from dify_plugin.entities.invoke_message import InvokeMessage
from dify_plugin.entities.tool import ToolInvokeMessage, ToolRuntime

__all__ = ["Tool", "ToolLike", "ToolProvider"]


class ToolLike:
    """What makes messages."""

    response_type: type[InvokeMessage] = ToolInvokeMessage

    def create_text_message(self, text: str) -> InvokeMessage:
        """Make a message of a text."""
        return self._create(InvokeMessage.MessageType.TEXT, InvokeMessage.TextMessage(text=text))

    def create_json_message(self, json: Mapping[str, Any] | list[Any]) -> InvokeMessage:
        """Make a message of an object."""
        return self._create(InvokeMessage.MessageType.JSON, InvokeMessage.JsonMessage(json_object=json))

    def create_image_message(self, image_url: str) -> InvokeMessage:
        """Make a message of the address of a picture."""
        return self._create(InvokeMessage.MessageType.IMAGE, InvokeMessage.TextMessage(text=image_url))

    def create_link_message(self, link: str) -> InvokeMessage:
        """Make a message of an address."""
        return self._create(InvokeMessage.MessageType.LINK, InvokeMessage.TextMessage(text=link))

    def create_blob_message(self, blob: bytes, meta: dict[str, Any] | None = None) -> InvokeMessage:
        """Make a message of bytes."""
        return self._create(InvokeMessage.MessageType.BLOB, InvokeMessage.BlobMessage(blob=blob), meta)

    def create_variable_message(self, variable_name: str, variable_value: object) -> InvokeMessage:
        """Make a message of a variable."""
        message = InvokeMessage.VariableMessage(variable_name=variable_name, variable_value=variable_value)
        return self._create(InvokeMessage.MessageType.VARIABLE, message)

    def _create(self, kind: InvokeMessage.MessageType, message: Any, meta: Any = None) -> InvokeMessage:
        return self.response_type(type=kind, message=message, meta=meta)


class ToolProvider:
    """Who provides tools."""

    def validate_credentials(self, credentials: dict[str, Any]) -> None:
        """Check credentials by the rules of the subclass."""
        self._validate_credentials(credentials)

    def _validate_credentials(self, credentials: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define _validate_credentials")


class Tool(ToolLike):
    """A tool.

    Args:
        runtime: Who uses it.
        session: Who is called, and the way to call Dify.
    """

    def __init__(self, runtime: ToolRuntime, session: Session) -> None:
        self.runtime = runtime
        self.session = session

    @classmethod
    def from_credentials(cls, credentials: dict[str, Any], user_id: str | None = None) -> Tool:
        """Make a tool with credentials, in a session of nobody."""
        return cls(ToolRuntime(credentials=credentials, user_id=user_id), Session.empty_session())

    def invoke(self, tool_parameters: dict[str, Any]) -> Iterator[Any]:
        """Run the tool."""
        yield from self._invoke(tool_parameters)

    def _invoke(self, tool_parameters: dict[str, Any]) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define _invoke")
