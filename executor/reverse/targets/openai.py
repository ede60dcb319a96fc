"""Reverse calls answered by a server that speaks OpenAI's protocol: for people without Dify.

Language models, embeddings, speech, moderation; and chats with apps, each of which the operator describes by a model
and instructions. Whatever else belongs to Dify (tools, workflows, knowledge) fails with a message that says so.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, final

from executor.config.reverse_targets import OpenAiSettings
from executor.reverse.call import CallFailedError, ReverseCall
from executor.reverse.targets.answer import Answer, parse_json
from executor.reverse.targets.failures import BAD_REQUEST, CONNECTION, UNAVAILABLE, describe_document
from executor.reverse.targets.http import HttpPeer
from executor.reverse.targets.lines import LineReader, LongLineError
from executor.reverse.targets.openai_answer import ChatAnswer, structured_text
from executor.reverse.targets.openai_apps import app_events, app_question
from executor.reverse.targets.openai_media import (
    read_embeddings,
    read_moderation,
    read_transcription,
    speech_request,
    transcription_form,
)
from executor.reverse.targets.openai_request import chat_request, read_messages
from executor.reverse.targets.plain import encode_request, text_field

__all__ = ["OpenAiTarget"]

SUMMARY: Final = "Summarize the text that the user gives. Keep to its language and its key points."
DATA: Final = b"data:"
DONE: Final = b"[DONE]"
ANY: Final = "*"


@final
class OpenAiTarget:
    """A server that speaks OpenAI's protocol.

    Args:
        settings: Where it is, and what stands for what.
        api_key: The server's key; empty for none.
    """

    def __init__(self, settings: OpenAiSettings, api_key: str) -> None:
        self._settings = settings
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._peer = HttpPeer("The model server", settings)
        self._kinds: Mapping[str, Callable[[ReverseCall], AsyncGenerator[object, None]]] = {
            "app": self._chat_with_app,
            "llm": self._chat,
            "llm_structured_output": self._structured,
            "moderation": self._moderate,
            "speech2text": self._transcribe,
            "system_summary": self._summarize,
            "text_embedding": self._embed,
            "tts": self._speak,
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._peer.close()

    async def call(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        """Answer one call, as `CallTarget` says.

        Raises:
            CallFailedError: There is no answer, or no more of it.
        """
        kind = self._kinds.get(call.kind)
        if kind is None:
            text = f"calls of the kind {call.kind} need Dify; the target openai answers {', '.join(self._kinds)}"
            raise CallFailedError(text, BAD_REQUEST)
        async with aclosing(kind(call)) as answers:
            async for data in answers:
                yield data

    def _model(self, request: Mapping[str, object]) -> str:
        """Find the name of a model at the server."""
        models, model = self._settings.models, text_field(request, "model")
        found = models.get(f"{request.get('provider')}/{model}") or models.get(model) or models.get(ANY)
        if found is None and models:
            text = f"the model {model} is not one of those that `reverse.openai.models` lists: {', '.join(models)}"
            raise CallFailedError(text, BAD_REQUEST)
        return found or model

    def _post(self, path: str, body: Mapping[str, object]) -> AbstractAsyncContextManager[Answer]:
        return self._peer.post(f"{self._settings.url}{path}", encode_request(body), headers=self._headers)

    async def _chat(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        body = {"model": self._model(call.request), **chat_request(call.request)}
        answer = ChatAnswer(text_field(call.request, "model"))
        async with aclosing(self._ask(call, body, answer, stream=bool(call.request.get("stream")))) as parts:
            async for part in parts:
                yield part

    async def _structured(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        """Have the model answer in JSON, and give what it means with the last part."""
        body = {"model": self._model(call.request), **chat_request(call.request)}
        schema = call.request.get("structured_output_schema")
        if self._settings.structured_output == "json_schema":
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        else:
            told = {"role": "system", "content": f"Answer with JSON that fits this schema: {_written(schema)}"}
            body["messages"] = [told, *read_messages(call.request.get("prompt_messages"))]
            body["response_format"] = {"type": "json_object"}
        answer = ChatAnswer(text_field(call.request, "model"))
        async with aclosing(self._ask(call, body, answer, stream=bool(call.request.get("stream")))) as parts:
            async for part in parts:
                last = part["delta"]["finish_reason"] is not None  # type: ignore[index]  # made by ChatAnswer
                yield {**part, "structured_output": _meaning(answer.text) if last else None}

    async def _summarize(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        model = self._settings.summary_model
        if model is None:
            raise CallFailedError("there are no summaries: the operator has named no `reverse.openai.summary_model`")
        instruction = call.request.get("instruction")
        system = f"{SUMMARY} {instruction}" if isinstance(instruction, str) and instruction else SUMMARY
        messages = [
            {"role": "system", "content": system},
            {"role": "user", "content": text_field(call.request, "text")},
        ]
        answer = ChatAnswer(model)
        async with aclosing(self._ask(call, {"model": model, "messages": messages}, answer, stream=False)) as parts:
            async for _ in parts:
                yield {"summary": answer.text}

    async def _chat_with_app(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        app_id = text_field(call.request, "app_id")
        app = self._settings.apps.get(app_id) or self._settings.apps.get(ANY)
        if app is None:
            text = f"the app {app_id} is not known here: the operator has to describe it in `reverse.openai.apps`"
            raise CallFailedError(text, BAD_REQUEST)
        body = {"model": app.model, "messages": app_question(app, call.request)}
        streaming = call.request.get("response_mode") == "streaming"
        parts = self._ask(call, body, ChatAnswer(app.model), stream=streaming)
        async with aclosing(app_events(call.request, parts, streaming=streaming)) as events:
            async for event in events:
                yield event

    async def _ask(
        self, call: ReverseCall, body: Mapping[str, object], chat: ChatAnswer, *, stream: bool
    ) -> AsyncGenerator[dict[str, object], None]:
        """Ask a language model, and give Dify's parts of its answer: one, or as it comes."""
        began = time.monotonic()
        usage = {"stream_options": {"include_usage": True}} if stream and self._settings.stream_usage else {}
        document = {**body, "stream": stream, "user": call.user_id, **usage}
        async with self._post("/chat/completions", document) as answer:
            await answer.check_status()
            if not stream:
                text = chat.feed(_document(answer, await answer.body(), "choices"))
                yield chat.last_part(text, time.monotonic() - began)
                return
            async with aclosing(_events(answer)) as events:
                async for event in events:
                    text = chat.feed(event)
                    if text:
                        yield chat.part(text)
            if chat.finish_reason is None:
                raise answer.failure("broke its answer off: there is no end of it", CONNECTION)
            yield chat.last_part("", time.monotonic() - began)

    async def _embed(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        began = time.monotonic()
        texts = call.request.get("texts")
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise CallFailedError("`texts` has to be a list of at least one text", BAD_REQUEST)
        body = {"model": self._model(call.request), "input": texts, "encoding_format": "float", "user": call.user_id}
        async with self._post("/embeddings", body) as answer:
            await answer.check_status()
            document = _document(answer, await answer.body(), "data")
            found = read_embeddings(document, len(texts), time.monotonic() - began)
            if found is None:
                raise answer.failure(f"did not answer with {len(texts)} embeddings", UNAVAILABLE)
        yield {"model": call.request["model"], **found}

    async def _speak(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        body = {"model": self._model(call.request), **speech_request(call.request)}
        async with self._post("/audio/speech", body) as answer:
            await answer.check_status()
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    yield {"result": piece.hex(), "mime_type": answer.media_type or "audio/mpeg"}

    async def _transcribe(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        form, files = transcription_form(self._model(call.request), call.request)
        url = f"{self._settings.url}/audio/transcriptions"
        async with self._peer.post(url, form=form, files=files, headers=self._headers) as answer:
            await answer.check_status()
            yield read_transcription(_document(answer, await answer.body(), "text"))

    async def _moderate(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        body = {"model": self._model(call.request), "input": text_field(call.request, "text")}
        async with self._post("/moderations", body) as answer:
            await answer.check_status()
            found = read_moderation(_document(answer, await answer.body(), "results"))
            if found is None:
                raise answer.failure("did not say whether the text is flagged", UNAVAILABLE)
        yield found


async def _events(answer: Answer) -> AsyncGenerator[Mapping[str, object], None]:
    """Read server-sent events: lines with `data:`, up to `[DONE]`."""
    reader = LineReader(answer.part_size)
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            for line in _lines(answer, reader, piece):
                if not line.startswith(DATA):
                    continue  # comments, and fields that say nothing new
                data = line[len(DATA) :].strip()
                if data == DONE:
                    return
                yield _document(answer, data)


def _lines(answer: Answer, reader: LineReader, piece: bytes) -> list[bytes]:
    try:
        return list(reader.feed(piece))
    except LongLineError:
        answer.refuse_size("part_size", answer.part_size)


def _document(answer: Answer, data: bytes, expected: str = "") -> Mapping[str, object]:
    """Read a document, and refuse one that is about an error."""
    document = answer.parse(data)
    if not isinstance(document, dict) or (expected and expected not in document and not document.get("error")):
        raise answer.failure(f"answered with something else than a document with `{expected}`", UNAVAILABLE)
    if document.get("error"):
        raise answer.failure(f"failed: {describe_document(document)}", UNAVAILABLE)
    return document


def _written(schema: object) -> str:
    return encode_request({"schema": schema}).decode().removeprefix('{"schema":').removesuffix("}")


def _meaning(text: str) -> dict[str, object]:
    """Read the JSON that the model has written."""
    try:
        meaning = parse_json(structured_text(text).encode())
    except ValueError as error:
        raise CallFailedError(f"the model's answer is not JSON: {error}") from error
    if not isinstance(meaning, dict):
        raise CallFailedError("the model's answer is not an object of JSON")
    return meaning
