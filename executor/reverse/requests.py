"""What a worker may ask: the permission that each kind of call needs, and the fields that its request must have.

A request was written by a stranger: it is plain data, within bounds, and nothing else is known of it. Here it is
checked for what every target relies on, so that no target has to. What only one of them needs is that target's
business, and fields that nobody knows are passed on, for newer SDKs.

Source: `permissionMapping` in internal/core/io_tunnel/backwards_invocation/task.go, and the `validate` tags in
internal/core/dify_invocation/types.go of Dify's daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from executor.catalog.permissions import Permissions
from executor.reverse.call import CallFailedError

__all__ = ["RULES", "CallRule", "check_request", "read_content", "refuse_kind"]

MOST_TEXT: Final = 4096
"""Characters of names and identifiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule:
    """What holds for one kind of call.

    Attributes:
        permission: One of those in `Permissions.allowed`; empty where none is needed.
        shown: The permission as the daemon writes it in its refusal.
        required: Fields that must be there, with their types.
        optional: Fields with a type where they are there and not null.
        contents: Fields with the content of a file or value: bytes, or the same in hexadecimal.
        texts: Fields that may be long.
    """

    permission: str
    shown: str = ""
    required: Mapping[str, type] = field(default_factory=dict)
    optional: Mapping[str, type] = field(default_factory=dict)
    contents: tuple[str, ...] = ()
    texts: frozenset[str] = frozenset()


_MODEL: Final = {"provider": str, "model": str}
_LLM: Final = {**_MODEL, "prompt_messages": list}
_LLM_OPTIONAL: Final = {"mode": str, "completion_params": dict, "tools": list, "stop": list, "stream": bool}
_NODE_OPTIONAL: Final = {"instruction": str}

RULES: Final[Mapping[str, CallRule]] = {
    "app": CallRule(
        permission="app",
        required={"app_id": str, "inputs": dict},
        optional={"query": str, "response_mode": str, "conversation_id": str, "user": str},
        texts=frozenset({"query"}),
    ),
    "fetch_app": CallRule(permission="app", required={"app_id": str}),
    "llm": CallRule(permission="llm", required=_LLM, optional=_LLM_OPTIONAL),
    "llm_structured_output": CallRule(
        permission="llm", required={**_LLM, "structured_output_schema": dict}, optional=_LLM_OPTIONAL
    ),
    "system_summary": CallRule(
        permission="llm",
        required={"text": str},
        optional={"instruction": str},
        texts=frozenset({"text", "instruction"}),
    ),
    "text_embedding": CallRule(permission="text_embedding", shown="text-embedding", required={**_MODEL, "texts": list}),
    "multimodal_embedding": CallRule(
        permission="text_embedding", shown="text-embedding", required={**_MODEL, "documents": list}
    ),
    "rerank": CallRule(
        permission="rerank", required={**_MODEL, "docs": list, "query": str}, texts=frozenset({"query"})
    ),
    "multimodal_rerank": CallRule(permission="rerank", required={**_MODEL, "docs": list, "query": dict}),
    "tts": CallRule(permission="tts", required={**_MODEL, "content_text": str}, texts=frozenset({"content_text"})),
    "speech2text": CallRule(permission="speech2text", required=_MODEL, contents=("file",)),
    "moderation": CallRule(permission="moderation", required={**_MODEL, "text": str}, texts=frozenset({"text"})),
    "tool": CallRule(
        permission="tool",
        required={"tool_type": str, "provider": str, "tool": str, "tool_parameters": dict},
        optional={"credential_id": str},
    ),
    "node_parameter_extractor": CallRule(
        permission="node",
        required={"parameters": list, "model": dict, "query": str},
        optional=_NODE_OPTIONAL,
        texts=frozenset({"query", "instruction"}),
    ),
    "node_question_classifier": CallRule(
        permission="node",
        required={"classes": list, "model": dict, "query": str},
        optional=_NODE_OPTIONAL,
        texts=frozenset({"query", "instruction"}),
    ),
    "storage": CallRule(permission="storage", required={"opt": str, "key": str}),
    "upload_file": CallRule(permission="", required={"filename": str, "mimetype": str}, contents=("content",)),
}

_NAMES: Final = {str: "a text", dict: "a map", list: "a list", bool: "true or false"}


def refuse_kind(kind: str, permissions: Permissions) -> str:
    """Return why a plugin may not make calls of a kind, in the daemon's words; empty where it may."""
    rule = RULES.get(kind)
    if rule is None:
        return f"unsupported invoke type: {kind}"
    if rule.permission and rule.permission not in permissions.allowed:
        shown = rule.shown or rule.permission
        return f"permission denied, you need to enable {shown} access in plugin manifest"
    return ""


def check_request(kind: str, value: object) -> dict[str, object]:
    """Check the request of a call.

    Args:
        kind: One of those in `RULES`.
        value: What the worker sent, plain data. The result is made of it.

    Returns:
        The request, contents as bytes.

    Raises:
        CallFailedError: A field is missing, or is not what it should be. The text names it, and no value.
    """
    if not isinstance(value, dict):
        raise CallFailedError(f"{kind}: the request is not a map")
    rule = RULES[kind]
    for name, expected in rule.required.items():
        if value.get(name) is None:
            raise CallFailedError(f"{kind}: `{name}` is missing; it is {_NAMES[expected]}")
        _check_field(rule, kind, name, value[name], expected)
    for name, expected in rule.optional.items():
        if value.get(name) is not None:
            _check_field(rule, kind, name, value[name], expected)
    return {**value, **{name: read_content(kind, name, value.get(name)) for name in rule.contents}}


def _check_field(rule: CallRule, kind: str, name: str, value: object, expected: type) -> None:
    if type(value) is not expected:
        raise CallFailedError(f"{kind}: `{name}` is {_NAMES[expected]}, not {type(value).__name__}")
    if isinstance(value, str) and name not in rule.texts and len(value) > MOST_TEXT:
        raise CallFailedError(f"{kind}: `{name}` has {len(value)} characters, at most {MOST_TEXT}")


def read_content(kind: str, name: str, value: object) -> bytes:
    """Return the content of a field: bytes as they are, a text from hexadecimal.

    Raises:
        CallFailedError: It is neither.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise CallFailedError(f"{kind}: `{name}` is a text, and not hexadecimal") from None
    raise CallFailedError(f"{kind}: `{name}` is missing; it is bytes, or a text in hexadecimal")
