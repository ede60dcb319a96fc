"""Messages to and from language models."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any, ClassVar

from dify_plugin.data import Data

__all__ = [
    "AssistantPromptMessage",
    "AudioPromptMessageContent",
    "DeveloperPromptMessage",
    "DocumentPromptMessageContent",
    "ImagePromptMessageContent",
    "MultiModalPromptMessageContent",
    "PromptMessage",
    "PromptMessageContent",
    "PromptMessageContentType",
    "PromptMessageFunction",
    "PromptMessageRole",
    "PromptMessageTool",
    "SystemPromptMessage",
    "TextPromptMessageContent",
    "ToolPromptMessage",
    "UserPromptMessage",
    "VideoPromptMessageContent",
]


class PromptMessageRole(Enum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    DEVELOPER = "developer"


class PromptMessageContentType(StrEnum):
    """What a part of a message is."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENT = "document"


class PromptMessageTool(Data):
    """A tool that the model may call."""


class PromptMessageFunction(Data):
    """A tool, as a function."""

    type = "function"


class PromptMessageContent(Data):
    """A part of a message."""


class TextPromptMessageContent(PromptMessageContent):
    """A text in a message."""

    type = PromptMessageContentType.TEXT


class MultiModalPromptMessageContent(PromptMessageContent):
    """A file in a message."""

    base64_data = ""
    url = ""
    mime_type = ""
    filename = ""

    @property
    def data(self) -> str:
        """The address of the file, or the file itself as a data URL."""
        return self.url or f"data:{self.mime_type};base64,{self.base64_data}"


class ImagePromptMessageContent(MultiModalPromptMessageContent):
    """A picture in a message."""

    class DETAIL(Enum):
        """How closely it is looked at."""

        LOW = "low"
        HIGH = "high"

    type = PromptMessageContentType.IMAGE
    detail = DETAIL.LOW


class AudioPromptMessageContent(MultiModalPromptMessageContent):
    """Sound in a message."""

    type = PromptMessageContentType.AUDIO


class VideoPromptMessageContent(MultiModalPromptMessageContent):
    """Moving pictures in a message."""

    type = PromptMessageContentType.VIDEO


class DocumentPromptMessageContent(MultiModalPromptMessageContent):
    """A document in a message."""

    type = PromptMessageContentType.DOCUMENT


class PromptMessage(Data):
    """A message: who speaks, and what."""

    content: ClassVar[Any] = None
    name: ClassVar[Any] = None

    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not self.content


class UserPromptMessage(PromptMessage):
    """What the user says."""

    role = PromptMessageRole.USER


class AssistantPromptMessage(PromptMessage):
    """What the model says, and which tools it calls."""

    class ToolCall(Data):
        """A call of a tool."""

        class ToolCallFunction(Data):
            """Name and arguments."""

        _kinds = {"function": ToolCallFunction}  # noqa: RUF012
        type = "function"

    _kinds = {"tool_calls": [ToolCall]}  # noqa: RUF012
    role = PromptMessageRole.ASSISTANT
    tool_calls: ClassVar[list[Any]] = []

    def is_empty(self) -> bool:
        """Whether it says nothing and calls nothing."""
        return super().is_empty() and not self.tool_calls


class SystemPromptMessage(PromptMessage):
    """What the model is told beforehand."""

    role = PromptMessageRole.SYSTEM


class DeveloperPromptMessage(PromptMessage):
    """What the model is told by the developer."""

    role = PromptMessageRole.DEVELOPER


class ToolPromptMessage(PromptMessage):
    """What a tool has answered."""

    role = PromptMessageRole.TOOL
    tool_call_id = ""

    def is_empty(self) -> bool:
        """Whether it says nothing about no call."""
        return super().is_empty() and not self.tool_call_id
