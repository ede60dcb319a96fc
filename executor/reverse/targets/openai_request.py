"""Requests for a language model: Dify's form made into OpenAI's.

A request was written by a stranger. What is known is taken over, checked, and what is not known is left out: parameters
of models in particular, for some of them cost the operator money.

Source: `dify_plugin.entities.model.message` 0.10.2; OpenAI's API reference, `POST /chat/completions`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from executor.reverse.call import CallFailedError
from executor.reverse.targets.failures import BAD_REQUEST

__all__ = ["chat_request", "read_messages"]

PARAMETERS: Final = (
    "enable_thinking",
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "presence_penalty",
    "reasoning_effort",
    "repetition_penalty",
    "seed",
    "temperature",
    "top_k",
    "top_p",
    "verbosity",
)
"""Parameters of models that are passed on: how an answer is made, not how many, for whom or with which services."""

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
DEFAULT_FORMAT: Final = "wav"


def chat_request(request: Mapping[str, object]) -> dict[str, object]:
    """Make the body of a request, all but the model and how the answer is to come.

    Raises:
        CallFailedError: Something in it cannot be passed on.
    """
    parameters = _map(request.get("completion_params"), "completion_params")
    scalars = {
        name: parameters[name] for name in PARAMETERS if isinstance(parameters.get(name), str | int | float | bool)
    }
    optional = {
        "tools": [_tool(item) for item in _list(request.get("tools"), "tools")],
        "tool_choice": _tool_choice(request.get("tool_choice")),
        "stop": _stop(request.get("stop")) or _stop(parameters.get("stop")),
        "response_format": _format(parameters),
    }
    given = {name: value for name, value in optional.items() if value}
    return {"messages": read_messages(request.get("prompt_messages")), **scalars, **given}


def read_messages(messages: object) -> list[dict[str, object]]:
    """Make messages.

    Raises:
        CallFailedError: There are none, or one cannot be passed on.
    """
    made = [_message(item) for item in _list(messages, "prompt_messages")]
    if not made:
        raise _wrong("prompt_messages", "a list of at least one message")
    return made


def _message(item: object) -> dict[str, object]:
    message = _map(item, "prompt_messages")
    role = message.get("role")
    if role not in ROLES:
        raise _wrong("prompt_messages[].role", f"one of {', '.join(ROLES)}")
    made: dict[str, object] = {"role": role, "content": _content(message.get("content"))}
    if isinstance(message.get("name"), str) and message["name"] and role != "tool":
        made["name"] = message["name"]
    if role == "tool":
        made["tool_call_id"] = _text(message.get("tool_call_id"), "prompt_messages[].tool_call_id")
    calls = [_tool_call(call) for call in _list(message.get("tool_calls"), "prompt_messages[].tool_calls")]
    if role == "assistant" and calls:
        made["tool_calls"] = calls
    return made


def _content(content: object) -> object:
    if content is None or isinstance(content, str):
        return content or ""
    return [_part(_map(part, "prompt_messages[].content")) for part in _list(content, "prompt_messages[].content")]


def _part(part: Mapping[str, object]) -> dict[str, object]:
    """Make a part of a message: text, or a file by URL or with its content."""
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": _text(part.get("data"), "prompt_messages[].content[].data")}
    encoded, media_type = part.get("base64_data"), part.get("mime_type")
    url = part.get("url") or f"data:{media_type};base64,{encoded}"
    if not isinstance(url, str) or not (part.get("url") or (encoded and media_type)):
        raise _wrong("prompt_messages[].content[]", "a part with `url`, or `base64_data` and `mime_type`")
    match kind:
        case "image":
            detail = part.get("detail")
            return {"type": "image_url", "image_url": {"url": url, "detail": detail if detail == "high" else "low"}}
        case "audio" if encoded:
            sound = {"data": encoded, "format": part.get("format") or DEFAULT_FORMAT}
            return {"type": "input_audio", "input_audio": sound}
        case "document" if encoded:
            return {"type": "file", "file": {"filename": part.get("filename") or "document", "file_data": url}}
    raise _wrong("prompt_messages[].content[].type", "text, image, or audio or document with their content")


def _tool_call(item: object) -> dict[str, object]:
    call = _map(item, "prompt_messages[].tool_calls")
    function = _map(call.get("function"), "prompt_messages[].tool_calls[].function")
    name = _text(function.get("name"), "prompt_messages[].tool_calls[].function.name")
    arguments = function.get("arguments")
    made = {"name": name, "arguments": arguments if isinstance(arguments, str) else ""}
    return {"id": call.get("id") or "", "type": "function", "function": made}


def _tool(item: object) -> dict[str, object]:
    tool = _map(item, "tools")
    function = {
        "name": _text(tool.get("name"), "tools[].name"),
        "description": tool.get("description") or "",
        "parameters": _map(tool.get("parameters"), "tools[].parameters"),
    }
    return {"type": "function", "function": function}


def _tool_choice(choice: object) -> object:
    given = _map(choice, "tool_choice")
    mode = given.get("mode")
    if mode == "tool":
        return {"type": "function", "function": {"name": _text(given.get("name"), "tool_choice.name")}}
    return mode if mode in {"auto", "none", "required"} else None


def _stop(value: object) -> list[str]:
    """Take texts that end an answer; the SDK has them beside the parameters, and Dify's forms among them."""
    return [item for item in _list(value, "stop") if isinstance(item, str) and item]


def _format(parameters: Mapping[str, object]) -> object:
    """Make the form of the answer: Dify names it, and has a schema as text beside it."""
    form = parameters.get("response_format")
    if isinstance(form, dict):
        return form if isinstance(form.get("type"), str) else None
    if form == "json_object":
        return {"type": form}
    if form != "json_schema":
        return None
    schema = parameters.get("json_schema")
    try:
        document = json.loads(schema) if isinstance(schema, str) else schema
    except (ValueError, RecursionError) as error:
        raise _wrong("completion_params.json_schema", "a JSON schema") from error
    named = isinstance(document, dict) and "schema" in document
    return {"type": form, "json_schema": document if named else {"name": "answer", "schema": document}}


def _map(value: object, name: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(name, "a map")
    return value


def _list(value: object, name: str) -> Sequence[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(name, "a list")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a text")
    return value


def _wrong(name: str, expected: str) -> CallFailedError:
    return CallFailedError(f"`{name}` has to be {expected}", BAD_REQUEST)
