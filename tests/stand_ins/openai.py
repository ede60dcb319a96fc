"""A stand-in for a server that speaks OpenAI's protocol; its answers follow from the requests alone.

`python -m tests.stand_ins.openai --port 8000 --key secret` serves it by hand, below `/v1`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from typing import Any, Final

from tests.stand_ins.faults import FAULTS, answer_wrongly
from tests.stand_ins.server import CutError, Exchange, running

__all__ = ["EVENT_FAULTS", "OpenAiStandIn"]

PREFIX: Final = "/v1/"
USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
EVENT_FAULTS: Final = (
    "bytewise",
    "cut_event",
    "error_event",
    "event_not_json",
    "huge_event",
    "no_end",
    "no_usage",
    "stalls",
    "surprises",
)


class OpenAiStandIn:
    """A server of models.

    Attributes:
        calls: What was asked, in order: `path`, `request`, `headers`.
        asked: Set when something was asked.
        left: Set when a client has gone before its answer was complete.
        fault: How it answers wrongly; empty for right answers.
        text: What its language model says; empty for an echo.
    """

    def __init__(self, key: str = "model-key") -> None:
        self.key = key
        self.calls: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.left = threading.Event()
        self.fault = ""
        self.text = ""

    async def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        path = exchange.path.removeprefix(PREFIX)
        if exchange.headers.get("authorization", "") != (f"Bearer {self.key}" if self.key else ""):
            await self._refuse(exchange, 401, "Incorrect API key provided.", "invalid_api_key")
            return
        form = path == "audio/transcriptions"
        request = {"form": exchange.body} if form else json.loads(exchange.body)
        self.calls.append({"path": path, "request": request, "headers": exchange.headers})
        self.asked.set()
        if self.fault in FAULTS:
            try:
                await answer_wrongly(exchange, self.fault)
            finally:
                self.left.set()
        elif request.get("model") == "unknown":
            await self._refuse(exchange, 404, "The model `unknown` does not exist", "model_not_found")
        elif path == "chat/completions":
            await self._chat(exchange, request)
        else:
            await self._answer(exchange, path, request)

    async def _refuse(self, exchange: Exchange, status: int, message: str, code: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        await exchange.answer_json({"error": error}, status)

    async def _answer(self, exchange: Exchange, path: str, request: dict[str, Any]) -> None:
        match path:
            case "embeddings":
                data = [
                    {"object": "embedding", "index": index, "embedding": [len(text) / 4, 1, -0.5]}
                    for index, text in enumerate(request["input"])
                ]
                data.reverse()  # the order is that of `index`
                usage = {"prompt_tokens": 5, "total_tokens": 5}
                await exchange.answer_json({"object": "list", "data": data, "model": request["model"], "usage": usage})
            case "audio/speech":
                await exchange.start(200, {"content-type": "audio/mpeg"})
                for word in (request["voice"], ": ", request["input"]):
                    await exchange.send(word.encode())
                await exchange.end()
            case "audio/transcriptions":
                content = request["form"].partition(b"audio/mpeg\r\n\r\n")[2].partition(b"\r\n--")[0]
                await exchange.answer_json({"text": content.decode()})
            case "moderations":
                results = [{"flagged": "bad" in request["input"], "categories": {}}]
                await exchange.answer_json({"id": "m", "model": request["model"], "results": results})
            case _:
                await self._refuse(exchange, 404, f"Unknown request URL: POST /v1/{path}", "unknown_url")

    async def _chat(self, exchange: Exchange, request: dict[str, Any]) -> None:
        message = self._message(request)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        head = {"id": "chatcmpl-1", "created": 1, "model": request["model"], "system_fingerprint": "fp_1"}
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            await exchange.answer_json({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
            return
        deltas = [{"role": "assistant", "content": ""}, *_deltas(message)]
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        events: list[dict[str, Any]] = [
            {**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices
        ]
        if request.get("stream_options", {}).get("include_usage") and self.fault != "no_usage":
            events.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        await self._stream(exchange, [f"data: {json.dumps(event)}\n\n".encode() for event in events])

    def _message(self, request: dict[str, Any]) -> dict[str, Any]:
        """Echo what was said; where there are tools, call the first; where there is a schema, fill it."""
        content = request["messages"][-1]["content"]
        said = content if isinstance(content, str) else " ".join(part.get("text", part["type"]) for part in content)
        schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
        text = self.text or f"You said: {said}"
        if schema is not None and not self.text:
            text = json.dumps({name: f"{name} of {said}" for name in schema.get("properties", {})})
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if request.get("tools"):
            function = {"name": request["tools"][0]["function"]["name"], "arguments": '{"city": "Oslo"}'}
            message |= {"content": None, "tool_calls": [{"id": "call_9", "type": "function", "function": function}]}
        return message

    async def _stream(self, exchange: Exchange, events: list[bytes]) -> None:
        events = self._spoil([*events, b"data: [DONE]\n\n"])
        await exchange.start(200, {"content-type": "text/event-stream; charset=utf-8"})
        for number, event in enumerate(events):
            if number == 3 and self.fault == "stalls":
                await exchange.wait_for_disconnect()
                self.left.set()
                return
            if number == 3 and self.fault == "cut_event":
                await exchange.send(event[:-5])
                raise CutError
            for start in range(0, len(event), size := 1 if self.fault == "bytewise" else len(event)):
                await exchange.send(event[start : start + size])
                await asyncio.sleep(0)
        await exchange.end()

    def _spoil(self, events: list[bytes]) -> list[bytes]:
        error = {"error": {"message": "The server had an error", "type": "server_error", "code": None}}
        wrong = {
            "error_event": [*events[:2], f"data: {json.dumps(error)}\n\n".encode()],
            "event_not_json": [*events[:2], b"data: <html>\n\n"],
            "huge_event": [*events[:2], b"data: " + b"x" * (3 * 1024**2)],
            "no_end": events[:-3],
            "surprises": [
                b": a comment\r\n\r\n",
                b"event: ping\r\ndata: {}\r\n\r\n",
                b'data: {"choices": null, "usage": 7}\n\n',
                b'data: {"choices": [{"delta": {"content": 7, "tool_calls": [3, {"function": 4}]}}]}\n\n',
                *events,
            ],
        }
        return wrong.get(self.fault, events)


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut a message into pieces."""
    text = message["content"] or ""
    deltas: list[dict[str, Any]] = [{"content": text[start : start + 6]} for start in range(0, len(text), 6)]
    for index, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[start : start + 5]}}]}
            for start in range(0, len(arguments), 5)
        ]
    return deltas


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in for a server of models.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--key", default="model-key")
    options = parser.parse_args()
    with running(OpenAiStandIn(options.key), options.port) as url:
        print(f"A server of models at {url}/v1, key {options.key}", flush=True)  # noqa: T201 - a program for people
        threading.Event().wait()


if __name__ == "__main__":
    main()
