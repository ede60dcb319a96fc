"""Answers of a language model: OpenAI's form made into Dify's.

The SDK makes `LLMResultChunk` of each part, and adds up the `usage` of all of them; of calls of tools it takes the last
ones. So usage, calls of tools and the reason of the end are in the last part, once and whole.

Source: `dify_plugin.entities.model.llm` and `invocations.model.llm` 0.10.2; OpenAI's API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

__all__ = ["ChatAnswer", "embedding_usage", "llm_usage", "structured_text"]

MAX_TOKENS: Final = 2**53
MAX_TOOL_CALLS: Final = 1000
FREE: Final = "0"
"""Prices are not known here, and are told as nothing."""


@final
class ChatAnswer:
    """Puts an answer together as it comes.

    Args:
        model: Name of the model, as the plugin knows it.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._texts: list[str] = []
        self._tool_calls: list[dict[str, str]] = []
        self._places: dict[object, dict[str, str]] = {}
        self._usage: Mapping[str, object] = {}
        self._fingerprint: str | None = None
        self._parts = 0
        self.finish_reason: str | None = None

    @property
    def text(self) -> str:
        """All of the text that has come."""
        return "".join(self._texts)

    def feed(self, document: Mapping[str, object]) -> str:
        """Take a whole answer, or a part of one that is streamed, and return the text in it."""
        usage, fingerprint = document.get("usage"), document.get("system_fingerprint")
        self._usage = usage if isinstance(usage, dict) else self._usage
        self._fingerprint = fingerprint if isinstance(fingerprint, str) else self._fingerprint
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""
        reason = choice.get("finish_reason")
        self.finish_reason = reason if isinstance(reason, str) else self.finish_reason
        message = choice.get("delta") if isinstance(choice.get("delta"), dict) else choice.get("message")
        if not isinstance(message, dict):
            return ""
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            self._add_call(call)
        text = message.get("content") or message.get("refusal")
        if not isinstance(text, str):
            return ""
        self._texts.append(text)
        return text

    def part(self, text: str) -> dict[str, object]:
        """Make a part of Dify's that has only text."""
        return self._part({"message": _message(text, []), "usage": None, "finish_reason": None})

    def last_part(self, text: str, latency_s: float) -> dict[str, object]:
        """Make the last part: some text, or none, and what is known now."""
        calls: list[dict[str, object]] = [
            {
                "id": call["id"] or f"call_{number}",
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for number, call in enumerate(self._tool_calls)
        ]
        usage = llm_usage(self._usage, latency_s)
        reason = self.finish_reason or "stop"
        return self._part({"message": _message(text, calls), "usage": usage, "finish_reason": reason})

    def _part(self, delta: dict[str, object]) -> dict[str, object]:
        index, self._parts = self._parts, self._parts + 1
        return {
            "model": self._model,
            "prompt_messages": [],
            "system_fingerprint": self._fingerprint,
            "delta": {"index": index, **delta},
        }

    def _add_call(self, given: object) -> None:
        """Take a call of a tool, or more of one: parts of a call have the same `index`, or none and no `id`."""
        call = given if isinstance(given, dict) else {}
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        index, identifier = call.get("index"), call.get("id")
        identifier = identifier if isinstance(identifier, str) else ""
        place = index if isinstance(index, int) else identifier or "last"
        known = self._places.get(place)
        if known is None and place == "last" and self._tool_calls:
            known = self._tool_calls[-1]
        if known is None:
            if len(self._tool_calls) >= MAX_TOOL_CALLS:
                return
            known = self._places[place] = {"id": "", "name": "", "arguments": ""}
            self._tool_calls.append(known)
        for name, value in (("id", identifier), ("name", function.get("name"))):
            known[name] = value if isinstance(value, str) and value else known[name]
        arguments = function.get("arguments")
        known["arguments"] += arguments if isinstance(arguments, str) else ""


def _message(text: str, calls: list[dict[str, object]]) -> dict[str, object]:
    return {"role": "assistant", "content": text, "name": None, "tool_calls": calls}


def llm_usage(usage: Mapping[str, object], latency_s: float) -> dict[str, object]:
    """Make Dify's `LLMUsage`; what the server has not counted is 0."""
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return {
        "prompt_tokens": prompt,
        "prompt_unit_price": FREE,
        "prompt_price_unit": FREE,
        "prompt_price": FREE,
        "completion_tokens": completion,
        "completion_unit_price": FREE,
        "completion_price_unit": FREE,
        "completion_price": FREE,
        "total_tokens": _count(usage, "total_tokens") or prompt + completion,
        "total_price": FREE,
        "currency": "USD",
        "latency": round(latency_s, 3),
    }


def embedding_usage(usage: Mapping[str, object], latency_s: float) -> dict[str, object]:
    """Make Dify's `EmbeddingUsage`."""
    tokens = _count(usage, "prompt_tokens") or _count(usage, "total_tokens")
    return {
        "tokens": tokens,
        "total_tokens": _count(usage, "total_tokens") or tokens,
        "unit_price": FREE,
        "price_unit": FREE,
        "total_price": FREE,
        "currency": "USD",
        "latency": round(latency_s, 3),
    }


def _count(usage: Mapping[str, object], name: str) -> int:
    value = usage.get(name)
    return value if type(value) is int and 0 <= value < MAX_TOKENS else 0


def structured_text(text: str) -> str:
    """Take the JSON out of an answer that may have it in a block of code."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        first, _, rest = text.removesuffix("```").partition("\n")
        return rest if first.strip() in {"```", "```json"} else text
    return text
