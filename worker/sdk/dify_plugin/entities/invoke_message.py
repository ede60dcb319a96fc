"""Messages that tools answer with."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

from dify_plugin.data import Data

__all__ = ["InvokeMessage"]


class InvokeMessage(Data):
    """One message of a tool: its type, its content, and data about it."""

    class TextMessage(Data):
        """A text."""

        def to_dict(self) -> dict[str, Any]:
            """Return the text under its name."""
            return self.model_dump()

    class JsonMessage(Data):
        """An object."""

        def to_dict(self) -> dict[str, Any]:
            """Return the object under its name."""
            return self.model_dump()

    class BlobMessage(Data):
        """Bytes."""

    class VariableMessage(Data):
        """The value of a variable."""

        stream = False

    class LogMessage(Data):
        """A step of an agent."""

        class LogStatus(Enum):
            """How far a step is."""

            START = "start"
            ERROR = "error"
            SUCCESS = "success"

    class MessageType(Enum):
        """What a message holds."""

        TEXT = "text"
        FILE = "file"
        BLOB = "blob"
        JSON = "json"
        LINK = "link"
        IMAGE = "image"
        IMAGE_LINK = "image_link"
        VARIABLE = "variable"
        BLOB_CHUNK = "blob_chunk"
        LOG = "log"
        RETRIEVER_RESOURCES = "retriever_resources"

    message: ClassVar[Any] = None
    meta: ClassVar[Any] = None

    def __init__(self, **given: Any) -> None:
        kind = given.get("type")
        if isinstance(kind, str):
            given["type"] = kind = self.MessageType(kind)
        message = given.get("message")
        if isinstance(message, Mapping):
            given["message"] = self._read_message(message)
        super().__init__(**given)

    def _read_message(self, message: Mapping[str, Any]) -> Any:
        """Make the record that a message is about; its class is told by what is in it, as in the SDK."""
        if "blob" in message and isinstance(message["blob"], str):
            with contextlib.suppress(ValueError):
                message = {**message, "blob": base64.b64decode(message["blob"])}
        for name, kind in (
            ("text", self.TextMessage),
            ("json_object", self.JsonMessage),
            ("variable_name", self.VariableMessage),
            ("blob", self.BlobMessage),
            ("label", self.LogMessage),
        ):
            if name in message:
                return kind(**message)
        return Data(**message)
