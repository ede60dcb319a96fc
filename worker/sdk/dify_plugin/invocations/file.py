"""Files for Dify."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from dify_plugin.core.entities.invocation import InvokeType
from dify_plugin.core.runtime import BackwardsInvocation
from dify_plugin.data import Data

__all__ = ["File", "UploadFileResponse"]


class UploadFileResponse(Data):
    """What Dify says about a file that it was given."""

    class Type(StrEnum):
        """What a file holds."""

        DOCUMENT = "document"
        IMAGE = "image"
        VIDEO = "video"
        AUDIO = "audio"

        @classmethod
        def from_mime_type(cls, mime_type: str) -> UploadFileResponse.Type:
            """Tell from a media type what a file holds; a document, when it is nothing else."""
            family = mime_type.partition("/")[0]
            return cls(family) if family in {cls.IMAGE, cls.VIDEO, cls.AUDIO} else cls.DOCUMENT

    _kinds = {"type": Type}  # noqa: RUF012

    preview_url = None

    def __init__(self, **given: Any) -> None:
        super().__init__(**({"type": self.Type.from_mime_type(given.get("mime_type", ""))} | given))

    def to_app_parameter(self) -> dict[str, Any]:
        """Return what an app takes as a file."""
        kind = self.Type.from_mime_type(self.mime_type)
        return {"tool_file_id": self.id, "transfer_method": "tool_file", "type": kind.value}


class File(BackwardsInvocation):
    """`session.file`."""

    def upload(self, filename: str, content: bytes, mimetype: str) -> UploadFileResponse:
        """Upload a file, and return what Dify says about it."""
        request = {"filename": filename, "mimetype": mimetype, "content": content}
        answer: UploadFileResponse = self._invoke_once(InvokeType.UploadFile, UploadFileResponse, request)
        return answer
