"""The kinds of calls that Dify's inner API answers: where, with which fields, and how.

Only the fields named here are passed on, as Dify's daemon does: a plugin cannot say whose call it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

__all__ = ["KINDS", "Kind"]


@final
@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call.

    Attributes:
        path: Below `inner/api/`.
        fields: Names of the fields of a request.
        streams: Whether the answer is a stream of parts, or one document.
        nested: Whether the answer is in a `data` of its own within `data`.
        defaults: Values of fields that Dify insists on and the SDK may leave out; those of Dify's daemon.
    """

    path: str
    fields: tuple[str, ...]
    streams: bool = False
    nested: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)

    def select(self, request: Mapping[str, object]) -> dict[str, object]:
        """Take what is passed on of a request; fields that are null are left out."""
        given = {name: request[name] for name in self.fields if request.get(name) is not None}
        return {**self.defaults, **given}


_MODEL: Final = ("provider", "model")
_LLM: Final = (*_MODEL, "mode", "completion_params", "prompt_messages", "tools", "tool_choice", "stop", "stream")
_NODE: Final = ("model", "instruction", "query")
_RERANK: Final = (*_MODEL, "query", "docs", "score_threshold", "top_n")
_TOOL: Final = ("tool_type", "provider", "tool", "tool_parameters", "credential_id", "credential_type")

KINDS: Final[Mapping[str, Kind]] = {
    "app": Kind(
        "invoke/app",
        ("app_id", "inputs", "query", "response_mode", "conversation_id", "user", "files"),
        streams=True,
        defaults={"inputs": {}},
    ),
    "fetch_app": Kind("fetch/app/info", ("app_id",), nested=True),
    "llm": Kind("invoke/llm", _LLM, streams=True),
    "llm_structured_output": Kind("invoke/llm/structured-output", (*_LLM, "structured_output_schema"), streams=True),
    "system_summary": Kind("invoke/summary", ("text", "instruction"), defaults={"instruction": ""}),
    "text_embedding": Kind("invoke/text-embedding", (*_MODEL, "texts", "input_type")),
    "multimodal_embedding": Kind("invoke/multimodal-embedding", (*_MODEL, "documents", "input_type")),
    "rerank": Kind("invoke/rerank", _RERANK, defaults={"score_threshold": 0.0, "top_n": 0}),
    "multimodal_rerank": Kind("invoke/multimodal-rerank", _RERANK, defaults={"score_threshold": 0.0, "top_n": 0}),
    "tts": Kind("invoke/tts", (*_MODEL, "content_text", "voice"), streams=True),
    "speech2text": Kind("invoke/speech2text", (*_MODEL, "file")),
    "moderation": Kind("invoke/moderation", (*_MODEL, "text")),
    "tool": Kind("invoke/tool", _TOOL, streams=True, defaults={"tool_parameters": {}}),
    "node_parameter_extractor": Kind(
        "invoke/parameter-extractor", ("parameters", *_NODE), defaults={"instruction": ""}
    ),
    "node_question_classifier": Kind("invoke/question-classifier", ("classes", *_NODE), defaults={"instruction": ""}),
    "upload_file": Kind("upload/file/request", ("filename", "mimetype")),
}
"""All kinds but `storage`, which Dify's daemon answers itself.

Source: langgenius/dify-plugin-daemon bdb5642a, internal/core/dify_invocation; langgenius/dify,
api/controllers/inner_api/plugin.
"""
