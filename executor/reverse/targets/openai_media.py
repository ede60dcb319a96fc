"""Embeddings, speech and moderation: Dify's form made into OpenAI's, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from executor.reverse.call import CallFailedError
from executor.reverse.targets.failures import BAD_REQUEST
from executor.reverse.targets.http import FormFile
from executor.reverse.targets.openai_answer import embedding_usage
from executor.reverse.targets.plain import text_field

__all__ = ["read_embeddings", "read_moderation", "read_transcription", "speech_request", "transcription_form"]

SPEECH_FORMAT: Final = "mp3"
"""What Dify's own models answer with, and what browsers play."""


def read_embeddings(document: Mapping[str, object], count: int, latency_s: float) -> dict[str, object] | None:
    """Read embeddings.

    Args:
        document: The server's answer.
        count: How many there have to be.
        latency_s: How long it took.

    Returns:
        `embeddings` in the order of the texts, and `usage`; `None` if they are not that.
    """
    data, usage = document.get("data"), document.get("usage")
    if not isinstance(data, list) or len(data) != count:
        return None
    found: dict[int, list[float]] = {}
    for place, item in enumerate(data):
        index = item.get("index", place) if isinstance(item, dict) else None
        numbers = _numbers(item.get("embedding")) if isinstance(item, dict) else None
        if type(index) is not int or numbers is None:
            return None
        found[index] = numbers
    if sorted(found) != list(range(count)):
        return None
    told = usage if isinstance(usage, dict) else {}
    return {"embeddings": [found[index] for index in range(count)], "usage": embedding_usage(told, latency_s)}


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list) or not all(type(value) in {int, float} for value in values):
        return None
    try:
        return values if all(map(math.isfinite, values)) else None
    except OverflowError:  # a whole number that is no float
        return None


def speech_request(request: Mapping[str, object]) -> dict[str, object]:
    """Make the body of a request for speech, all but the model."""
    return {
        "input": text_field(request, "content_text"),
        "voice": text_field(request, "voice"),
        "response_format": SPEECH_FORMAT,
    }


def transcription_form(model: str, request: Mapping[str, object]) -> tuple[dict[str, str], dict[str, FormFile]]:
    """Make the form of a request for a transcription: its fields, and its files."""
    content = request.get("file")
    if isinstance(content, str):
        try:
            content = bytes.fromhex(content)
        except ValueError:
            content = None
    if not isinstance(content, bytes):
        raise CallFailedError("`file` has to be bytes, or bytes in hexadecimal digits", BAD_REQUEST)
    return {"model": model, "response_format": "json"}, {"file": ("audio.mp3", content, "audio/mpeg")}


def read_transcription(document: Mapping[str, object]) -> dict[str, object]:
    """Read a transcription."""
    return {"result": str(document["text"])}


def read_moderation(document: Mapping[str, object]) -> dict[str, object] | None:
    """Read whether a text is flagged; `None` if that is not said."""
    results = document["results"]
    first = results[0] if isinstance(results, list) and results else None
    flagged = first.get("flagged") if isinstance(first, dict) else None
    return {"result": flagged} if isinstance(flagged, bool) else None
