"""What goes wrong with servers of others, in words for the author of a plugin.

Errors have the names that Dify's SDK gives them (`dify_plugin.errors.model`), so that plugins that tell errors apart
find what they know.
"""

from __future__ import annotations

import json
from typing import Final

__all__ = [
    "AUTHORIZATION",
    "BAD_REQUEST",
    "CONNECTION",
    "UNAVAILABLE",
    "describe_document",
    "describe_refusal",
    "error_type_of",
    "shorten",
]

CONNECTION: Final = "InvokeConnectionError"
UNAVAILABLE: Final = "InvokeServerUnavailableError"
RATE_LIMIT: Final = "InvokeRateLimitError"
AUTHORIZATION: Final = "InvokeAuthorizationError"
BAD_REQUEST: Final = "InvokeBadRequestError"

MAX_TEXT: Final = 4000
"""Characters of somebody else's text that are passed on: a whole message of Dify's, not a page of HTML."""

_BY_STATUS: Final = {401: AUTHORIZATION, 403: AUTHORIZATION, 407: CONNECTION, 408: CONNECTION, 429: RATE_LIMIT}
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400


def error_type_of(status: int) -> str:
    """Name the error that a status stands for."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= _SERVER_ERROR:
        return UNAVAILABLE
    return BAD_REQUEST if status >= _CLIENT_ERROR else CONNECTION


def describe_refusal(body: bytes) -> str:
    """Find what a server says about its refusal, in the forms that Dify, its daemon and OpenAI use.

    Args:
        body: The beginning of the answer's body, a document of JSON or anything else.

    Returns:
        The text, shortened; empty when there is none.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return shorten(body.decode(errors="replace"))
    return describe_document(document)


def describe_document(document: object) -> str:
    """The same for a document that has been read already."""
    return shorten(_text_in(document, depth=3))


def _text_in(document: object, *, depth: int) -> str:
    """Find the message: in `{message, code}`, `{error: {message}}`, `{error}`, `{message, data: {detail}}`."""
    if isinstance(document, str):
        return document
    if not isinstance(document, dict) or not depth:
        return ""
    found = [_text_in(document.get(key), depth=depth - 1) for key in ("error", "message", "detail", "data")]
    code = document.get("code") or document.get("error_type")
    texts = [text for text in found if text]
    return ": ".join([code, *texts] if isinstance(code, str) else texts)


def shorten(text: str) -> str:
    """Take the beginning of somebody else's text, without control characters."""
    plain = "".join(char if char.isprintable() or char == "\n" else " " for char in text[: MAX_TEXT + 1]).strip()
    return plain if len(text) <= MAX_TEXT else plain[:MAX_TEXT] + "…"
