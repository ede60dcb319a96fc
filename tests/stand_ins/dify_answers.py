"""What the stand-in for Dify answers: the shapes are Dify's, the contents follow from the request alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["ANSWERS", "EMBEDDING_USAGE", "LLM_USAGE", "REQUIRED", "STREAMS", "RefusedError"]

CREATED_AT: Final = 1_700_000_000
CONVERSATION: Final = "11111111-1111-4111-8111-111111111111"
MESSAGE: Final = "22222222-2222-4222-8222-222222222222"
RUN: Final = "33333333-3333-4333-8333-333333333333"
TASK: Final = "44444444-4444-4444-8444-444444444444"

LLM_USAGE: Final = {
    "prompt_tokens": 11,
    "prompt_unit_price": "0.001",
    "prompt_price_unit": "0.001",
    "prompt_price": "0.000011",
    "completion_tokens": 7,
    "completion_unit_price": "0.002",
    "completion_price_unit": "0.001",
    "completion_price": "0.000014",
    "total_tokens": 18,
    "total_price": "0.000025",
    "currency": "USD",
    "latency": 0.25,
}
EMBEDDING_USAGE: Final = {
    "tokens": 5,
    "total_tokens": 5,
    "unit_price": "0.0001",
    "price_unit": "0.001",
    "total_price": "0.0000005",
    "currency": "USD",
    "latency": 0.125,
}


class RefusedError(Exception):
    """Dify says no, with one of its documents of errors."""

    def __init__(self, message: str, code: str = "invalid_param", status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.document = {"code": code, "message": message, "status": status}


_MODEL: Final = {"provider": str, "model": str}
_LLM: Final = {**_MODEL, "mode": str}
_NODE: Final = {"model": dict, "instruction": str, "query": str}
_RERANK: Final = {**_MODEL, "docs": list, "score_threshold": (int, float), "top_n": int}

REQUIRED: Final[dict[str, dict[str, Any]]] = {
    "invoke/app": {"app_id": str, "inputs": dict, "response_mode": str},
    "fetch/app/info": {"app_id": str},
    "invoke/llm": _LLM,
    "invoke/llm/structured-output": {**_LLM, "structured_output_schema": dict},
    "invoke/summary": {"text": str, "instruction": str},
    "invoke/text-embedding": {**_MODEL, "texts": list},
    "invoke/multimodal-embedding": {**_MODEL, "documents": list},
    "invoke/rerank": {**_RERANK, "query": str},
    "invoke/multimodal-rerank": {**_RERANK, "query": dict},
    "invoke/tts": {**_MODEL, "content_text": str, "voice": str},
    "invoke/speech2text": {**_MODEL, "file": str},
    "invoke/moderation": {**_MODEL, "text": str},
    "invoke/tool": {"tool_type": str, "provider": str, "tool": str, "tool_parameters": dict},
    "invoke/parameter-extractor": {**_NODE, "parameters": list},
    "invoke/question-classifier": {**_NODE, "classes": list},
    "upload/file/request": {"filename": str, "mimetype": str},
}
"""The fields that each path cannot do without: those without a default in `core/plugin/entities/request.py`."""

STREAMS: Final = ("invoke/app", "invoke/llm", "invoke/llm/structured-output", "invoke/tts", "invoke/tool")


def _app(request: dict[str, Any]) -> list[Any]:
    if request["app_id"] == "missing":
        raise RefusedError("app not found")
    streaming = request["response_mode"] == "streaming"
    if "workflow" in request["app_id"] or not request.get("query"):
        return _workflow(request, streaming=streaming)
    answer = f"You said: {request['query']}"
    ids = {
        "task_id": TASK,
        "id": MESSAGE,
        "message_id": MESSAGE,
        "conversation_id": request.get("conversation_id") or CONVERSATION,
        "created_at": CREATED_AT,
    }
    metadata = {"usage": LLM_USAGE, "retriever_resources": []}
    if not streaming:
        return [{"event": "message", **ids, "mode": "chat", "answer": answer, "metadata": metadata}]
    messages = [{"event": "message", **ids, "answer": word} for word in _words(answer)]
    return [*messages, {"event": "message_end", **ids, "metadata": metadata, "files": []}]


def _workflow(request: dict[str, Any], *, streaming: bool) -> list[Any]:
    ids = {"task_id": TASK, "workflow_run_id": RUN}
    data = {
        "id": RUN,
        "workflow_id": request["app_id"],
        "status": "succeeded",
        "outputs": {"text": f"Inputs: {', '.join(sorted(request['inputs'])) or 'none'}", **request["inputs"]},
        "error": None,
        "elapsed_time": 0.5,
        "total_tokens": 0,
        "total_steps": 2,
        "created_at": CREATED_AT,
        "finished_at": CREATED_AT + 1,
    }
    if not streaming:
        return [{**ids, "data": data}]
    started = {"id": RUN, "workflow_id": request["app_id"], "inputs": request["inputs"], "created_at": CREATED_AT}
    return [
        {"event": "workflow_started", **ids, "data": started},
        {"event": "workflow_finished", **ids, "data": data},
    ]


def _app_info(request: dict[str, Any]) -> dict[str, Any]:
    parameters = {
        "opening_statement": f"This is {request['app_id']}",
        "suggested_questions": [],
        "user_input_form": [{"text-input": {"label": "Name", "variable": "name", "required": True, "default": ""}}],
        "file_upload": {"enabled": False},
    }
    return {"data": parameters}


def _words(text: str) -> list[str]:
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)]


def _llm(request: dict[str, Any]) -> list[Any]:
    text = f"{request['model']} heard: {_last_text(request)}"
    message: dict[str, Any] = {"role": "assistant", "content": "", "name": None, "tool_calls": []}
    if request.get("tools"):
        function = {"name": request["tools"][0]["name"], "arguments": '{"city": "Oslo"}'}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    words = _words(text) if request.get("stream") else [text]
    chunks = [
        _chunk(request, index, {**message, "content": word, "tool_calls": []}) for index, word in enumerate(words)
    ]
    last = _chunk(request, len(words), message)
    last["delta"].update({"usage": LLM_USAGE, "finish_reason": "tool_calls" if message["tool_calls"] else "stop"})
    return [*chunks, last]


def _chunk(request: dict[str, Any], index: int, message: dict[str, Any]) -> dict[str, Any]:
    delta = {"index": index, "message": message, "usage": None, "finish_reason": None}
    return {"model": request["model"], "prompt_messages": [], "system_fingerprint": None, "delta": delta}


def _last_text(request: dict[str, Any]) -> str:
    contents = [message.get("content") or "" for message in request.get("prompt_messages", [])] or [""]
    if isinstance(contents[-1], str):
        return contents[-1]
    return " ".join(part.get("data", f"<{part['type']}>") for part in contents[-1])


def _structured(request: dict[str, Any]) -> list[Any]:
    names = request["structured_output_schema"].get("properties", {})
    output = {name: f"{name} of {_last_text(request)}" for name in names}
    chunks = _llm(request)
    return [{**chunk, "structured_output": None} for chunk in chunks[:-1]] + [
        {**chunks[-1], "structured_output": output}
    ]


def _embed(request: dict[str, Any]) -> dict[str, Any]:
    items = request.get("texts") or [document["content"] for document in request["documents"]]
    embeddings = [[len(text) / 8, text.count("a") / 4, 0.5] for text in items]
    return {"model": request["model"], "embeddings": embeddings, "usage": EMBEDDING_USAGE}


def _rerank(request: dict[str, Any]) -> dict[str, Any]:
    texts = [document if isinstance(document, str) else document["content"] for document in request["docs"]]
    scored = sorted((-1 / (1 + len(text)), index, text) for index, text in enumerate(texts))
    documents = [{"index": index, "text": text, "score": -score} for score, index, text in scored]
    best = [document for document in documents if document["score"] >= request["score_threshold"]]
    return {"model": request["model"], "docs": best[: request["top_n"] or None]}


def _speak(request: dict[str, Any]) -> list[Any]:
    sound = f"{request['voice']}: {request['content_text']}".encode()
    return [{"result": sound[start : start + 8].hex()} for start in range(0, len(sound), 8)]


def _tool(request: dict[str, Any]) -> list[Any]:
    if request["tool"] == "missing":
        raise RefusedError("tool missing not found")
    parameters = request["tool_parameters"]
    return [
        {"type": "text", "message": {"text": f"{request['tool']} of {request['provider']}"}, "meta": None},
        {"type": "json", "message": {"json_object": parameters}, "meta": None},
    ]


def _extract(request: dict[str, Any]) -> dict[str, Any]:
    outputs = {parameter["name"]: request["query"] for parameter in request["parameters"]}
    return {"process_data": {}, "outputs": outputs, "inputs": {"query": request["query"]}}


def _classify(request: dict[str, Any]) -> dict[str, Any]:
    first = request["classes"][0]
    outputs = {"class_name": first["name"], "class_id": first["id"]}
    return {"process_data": {}, "outputs": outputs, "inputs": {"query": request["query"]}}


ANSWERS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "invoke/app": _app,
    "fetch/app/info": _app_info,
    "invoke/llm": _llm,
    "invoke/llm/structured-output": _structured,
    "invoke/summary": lambda request: {"summary": f"{request['instruction']}: {request['text'][:20]}"},
    "invoke/text-embedding": _embed,
    "invoke/multimodal-embedding": _embed,
    "invoke/rerank": _rerank,
    "invoke/multimodal-rerank": _rerank,
    "invoke/tts": _speak,
    "invoke/speech2text": lambda request: {"result": bytes.fromhex(request["file"]).decode(errors="replace")},
    "invoke/moderation": lambda request: {"result": "bad" in request["text"]},
    "invoke/tool": _tool,
    "invoke/parameter-extractor": _extract,
    "invoke/question-classifier": _classify,
}
