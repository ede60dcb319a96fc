"""Reading what a daemon sends to a function: one JSON object with a session, an action, and a request for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from executor.serverless.errors import BadCallError

__all__ = ["ACTION", "FunctionCall", "read_call"]

ACTION: Final = "invoke_endpoint"
"""What is asked for when an endpoint is to be called; everything else is not done here."""

MAX_SHOWN: Final = 80

_SESSION: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a function.

    Attributes:
        session_id: The daemon's; whoever knows it can make reverse calls in the plugin's name.
        action: What is asked for.
        endpoint_id: Dify's id of the endpoint; empty where it gives none.
        raw: The HTTP request; empty unless the action is `ACTION`.
        settings: Values of the plugin's settings, as Dify has them. Secret.
    """

    session_id: str = field(repr=False)
    action: str
    endpoint_id: str
    raw: bytes = field(repr=False)
    settings: dict[str, object] = field(repr=False)


def read_call(body: bytes) -> FunctionCall:
    """Read a call.

    Raises:
        BadCallError: It is none.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadCallError("expected a JSON object, found something else") from error
    top = _map(document, "the call")
    if top.get("event") != "request":
        raise BadCallError(f"event: expected request, found {_shown(top.get('event'))}")
    session_id = top.get("session_id")
    if not isinstance(session_id, str) or not _SESSION.fullmatch(session_id):
        raise BadCallError("session_id: expected 1 to 256 printable characters of ASCII")
    data = _map(top.get("data"), "data")
    action = data.get("action")
    if not isinstance(action, str):
        raise BadCallError(f"data.action: expected a text, found {_shown(action)}")
    endpoint_id = top.get("endpoint_id")
    return FunctionCall(
        session_id=session_id,
        action=action,
        endpoint_id=endpoint_id if isinstance(endpoint_id, str) else "",
        raw=_read_raw(data.get("raw_http_request")) if action == ACTION else b"",
        settings=dict(_map(data.get("settings") or {}, "data.settings")) if action == ACTION else {},
    )


def _read_raw(text: object) -> bytes:
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise BadCallError("data.raw_http_request: expected hexadecimal digits, two for each byte")
    return bytes.fromhex(text)


def _map(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise BadCallError(f"{name}: expected a map, found {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Show a value that may be anything, but no content of a container."""
    return repr(value)[:MAX_SHOWN] if isinstance(value, str | int | float | None) else type(value).__name__
