"""One reverse call, and what a target is: the seam between those who carry calls and those who answer them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["CALL_KINDS", "CallFailedError", "CallTarget", "ReverseCall"]

CALL_KINDS: Final = (
    "app",
    "fetch_app",
    "llm",
    "llm_structured_output",
    "system_summary",
    "text_embedding",
    "multimodal_embedding",
    "rerank",
    "multimodal_rerank",
    "tts",
    "speech2text",
    "moderation",
    "tool",
    "node_parameter_extractor",
    "node_question_classifier",
    "storage",
    "upload_file",
)
"""What can be asked for, with Dify's names: the `type` of an invocation."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseCall:
    """What an endpoint asks for, and on whose behalf.

    Attributes:
        kind: One of `CALL_KINDS`.
        request: The fields of the request, plain data (bytes for file contents), as the worker sent them: checked to
            be a bounded tree, and for the fields that the kind requires, but otherwise whatever a stranger wrote.
        tenant_id: Whose plugin it is.
        plugin_id: `author/name`.
        hook_id: The hook that was called.
        invocation_id: The invocation that makes the call.
        user_id: Stands for whoever called the hook; the same in all calls of one caller.
        session_id: Dify's session, where this executor runs plugins for a Dify daemon; otherwise the invocation's id.
    """

    kind: str
    request: dict[str, object] = field(repr=False)
    tenant_id: str
    plugin_id: str
    hook_id: str
    invocation_id: str
    user_id: str
    session_id: str


class CallTarget(Protocol):
    """Who answers reverse calls."""

    def call(self, call: ReverseCall) -> AsyncIterator[object]:
        """Answer one call.

        Yields:
            The plain `data` of each `response` event: one for calls with a single answer, one for each part of a
            stream.

        Raises:
            CallFailedError: There is no answer, or no more of it.

        Closing the iterator, or cancelling whoever waits for it, ends the call, and with it any request to others.
        """
        ...


@final
class CallFailedError(Exception):
    """A reverse call failed, for a reason that the endpoint is told.

    Args:
        message: For the author of the plugin: what failed, and why. No secret of the operator.
        error_type: A word for it, such as `InvokeRateLimitError`; empty where there is none.
    """

    def __init__(self, message: str, error_type: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
