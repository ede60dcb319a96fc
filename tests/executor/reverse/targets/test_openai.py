"""A server that speaks OpenAI's protocol: what it is asked, what is made of its answers, and what may go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from executor.config.reverse_targets import OpenAiSettings
from executor.reverse.targets.openai import OpenAiTarget
from tests.executor.reverse.targets.support import REQUESTS, collect, failure_of, make_call, take
from tests.stand_ins.openai import USAGE, OpenAiStandIn
from tests.stand_ins.sdk_shapes import (
    LlmChunk,
    LlmUsage,
    ModerationAnswer,
    StructuredChunk,
    SummaryAnswer,
    TextEmbeddingAnswer,
    TranscriptionAnswer,
    TtsPart,
)
from tests.stand_ins.server import serving

KEY = "model-key"
APPS = {"apps": {"chat-app": {"model": "small", "instructions": "You are {{name}}, {{ age }}. {{other}}"}}}
TOOL = {"name": "weather", "description": "Tells it", "parameters": {"type": "object", "properties": {}}}


@asynccontextmanager
async def openai(key: str = KEY, **settings: Any) -> AsyncIterator[tuple[OpenAiTarget, OpenAiStandIn]]:
    """A target, and the server that it asks."""
    stand_in = OpenAiStandIn(KEY)
    async with serving(stand_in) as url:
        target = OpenAiTarget(OpenAiSettings.model_validate({"url": f"{url}/v1", **settings}), key)
        try:
            yield target, stand_in
        finally:
            await target.close()


def run(test: Callable[[OpenAiTarget, OpenAiStandIn], Awaitable[None]], **settings: Any) -> None:
    """Run a test against a server."""

    async def within() -> None:
        async with openai(**settings) as (target, stand_in):
            await test(target, stand_in)

    asyncio.run(within())


def ask(kind: str, request: dict[str, Any] | None = None, **settings: Any) -> tuple[list[Any], dict[str, Any]]:
    """Make one call; its answer, and what the server was asked."""
    found: list[Any] = []

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        found.append(await collect(target, make_call(kind, request)))
        found.append(stand_in.calls[0])

    run(test, **settings)
    return found[0], found[1]


def text_of(parts: list[Any]) -> str:
    """Join the text of an answer."""
    return "".join(part["delta"]["message"]["content"] for part in parts)


@pytest.mark.parametrize("stream", [True, False])
def test_a_language_model_answers(stream: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """In parts of the SDK's shape: text as it comes, then usage and the reason of the end, once."""
    parts, call = ask("llm", {**REQUESTS["llm"], "stream": stream})
    for index, part in enumerate(parts):
        chunk = LlmChunk.model_validate(part)
        assert (chunk.model, chunk.delta.index) == ("gpt-4o", index)
    assert text_of(parts) == "You said: one two"
    assert (len(parts) > 2) == stream
    assert [part["delta"]["usage"] for part in parts[:-1]] == [None] * (len(parts) - 1)
    usage = LlmUsage.model_validate(parts[-1]["delta"]["usage"])
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == tuple(USAGE.values())
    assert parts[-1]["delta"]["finish_reason"] == "stop"
    assert call["path"] == "chat/completions"
    assert call["request"] == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "one two"}],
        "temperature": 0.5,
        "stream": stream,
        "user": "caller-1",
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }


@pytest.mark.parametrize("stream", [True, False])
def test_calls_of_tools_come_whole(stream: bool) -> None:  # noqa: FBT001
    """In the last part, for the SDK takes the last ones it sees."""
    parts, call = ask(
        "llm", {**REQUESTS["llm"], "stream": stream, "tools": [TOOL], "tool_choice": {"mode": "required"}}
    )
    (tool_call,) = LlmChunk.model_validate(parts[-1]).delta.message.tool_calls
    assert (tool_call.id, tool_call.function.name) == ("call_9", "weather")
    assert json.loads(tool_call.function.arguments) == {"city": "Oslo"}
    assert parts[-1]["delta"]["finish_reason"] == "tool_calls"
    assert call["request"]["tools"] == [{"type": "function", "function": TOOL}]
    assert call["request"]["tool_choice"] == "required"


def test_messages_of_all_kinds_are_passed_on() -> None:
    """Roles, names, files by URL or content, and what tools were called with and said."""
    sound = {"type": "audio", "format": "mp3", "base64_data": "QUJD", "mime_type": "audio/mpeg", "url": ""}
    picture = {"type": "image", "format": "png", "base64_data": "QUJD", "mime_type": "image/png", "detail": "high"}
    link = {"type": "image", "format": "png", "url": "https://example.org/a.png", "base64_data": "", "mime_type": "x"}
    paper = {"type": "document", "base64_data": "QUJD", "mime_type": "application/pdf", "filename": "a.pdf"}
    called = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief.", "name": ""},
        {"role": "user", "name": "ann", "content": [{"type": "text", "data": "see"}, picture, link, sound, paper]},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "content": "rain", "tool_call_id": "1", "name": "weather"},
    ]
    _, call = ask("llm", {**REQUESTS["llm"], "prompt_messages": messages})
    data = "data:image/png;base64,QUJD"
    assert call["request"]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": data, "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
            ],
        },
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]


def test_only_known_parameters_are_passed_on() -> None:
    """What costs more, or concerns others, is left out; forms of answers are translated."""
    wanted = {"n": 100, "store": True, "model": "dear", "messages": [], "stream_options": {}, "top_p": [1]}
    schema = json.dumps({"name": "s", "schema": {"type": "object"}})
    parameters = {**wanted, "max_tokens": 5, "seed": 7, "response_format": "json_schema", "json_schema": schema}
    _, call = ask("llm", {**REQUESTS["llm"], "completion_params": parameters, "stop": ["x", 3], "stream": False})
    assert set(call["request"]) == {
        *("model", "messages", "stream", "user"),
        *("max_tokens", "seed", "stop", "response_format"),
    }
    assert call["request"]["stop"] == ["x"]
    assert call["request"]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}},
    }


@pytest.mark.parametrize(
    ("beside", "among", "expected"), [(["x", 3, ""], None, ["x"]), (None, ["y"], ["y"]), (["x"], ["y"], ["x"])]
)
def test_texts_that_end_an_answer_are_passed_on(beside: object, among: object, expected: list[str]) -> None:
    """From beside the parameters, or among them."""
    _, call = ask("llm", {**REQUESTS["llm"], "stop": beside, "completion_params": {"stop": among}})
    assert call["request"]["stop"] == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("json_object", {"type": "json_object"}),
        ("text", None),
        ({"type": "json_object"}, {"type": "json_object"}),
        ({"kind": "json_object"}, None),
    ],
)
def test_forms_of_answers_are_translated(form: object, expected: object) -> None:
    """Dify names them."""
    _, call = ask("llm", {**REQUESTS["llm"], "completion_params": {"response_format": form}})
    assert call["request"].get("response_format") == expected


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("way", ["json_schema", "json_object"])
def test_structured_output_is_read(way: str, stream: bool) -> None:  # noqa: FBT001
    """The meaning comes with the last part; the server is asked in the way that it knows."""
    request = {**REQUESTS["llm_structured_output"], "stream": stream}
    found: list[Any] = []

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.text = '```json\n{"name": "Ann"}\n```' if way == "json_object" else ""
        found.append(await collect(target, make_call("llm_structured_output", request)))
        found.append(stand_in.calls[0]["request"])

    run(test, structured_output=way)
    parts, asked = found
    chunks = [StructuredChunk.model_validate(part) for part in parts]
    assert [chunk.structured_output for chunk in chunks[:-1]] == [None] * (len(parts) - 1)
    if way == "json_schema":
        assert chunks[-1].structured_output == {"name": "name of one two"}
        schema = request["structured_output_schema"]
        assert asked["response_format"] == {"type": way, "json_schema": {"name": "answer", "schema": schema}}
    else:
        assert chunks[-1].structured_output == {"name": "Ann"}
        assert asked["response_format"] == {"type": "json_object"}
        assert json.dumps(request["structured_output_schema"], separators=(",", ":")) in asked["messages"][0]["content"]


@pytest.mark.parametrize(
    ("text", "expected"), [("no JSON", "is not JSON"), ("[1]", "is not an object"), ('{"a": NaN}', "is not JSON")]
)
def test_structured_output_that_is_none_is_an_error(text: str, expected: str) -> None:
    """After the parts that came before."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.text = text
        assert expected in (await failure_of(target, make_call("llm_structured_output"))).message

    run(test)


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [
        ("text_embedding", TextEmbeddingAnswer, {}),
        ("system_summary", SummaryAnswer, {"summary_model": "small"}),
        ("tts", TtsPart, {}),
        ("speech2text", TranscriptionAnswer, {}),
        ("moderation", ModerationAnswer, {}),
    ],
)
def test_other_kinds_have_the_shapes_of_the_sdk(kind: str, shape: type[BaseModel], settings: dict[str, Any]) -> None:
    """One answer, or one for each part."""
    answers, _ = ask(kind, **settings)
    assert answers
    for answer in answers:
        shape.model_validate(answer)


def test_embeddings_are_in_the_order_of_the_texts() -> None:
    """Whatever the order in which the server gives them."""
    (answer,), call = ask("text_embedding")
    assert answer["embeddings"] == [[0.25, 1, -0.5], [0.5, 1, -0.5]]
    assert (answer["model"], answer["usage"]["total_tokens"]) == ("gpt-4o", 5)
    assert call["request"]["input"] == ["a", "bb"]


def test_speech_and_moderation() -> None:
    """Sounds are hexadecimal on the way to the SDK, and a file on the way to the server."""
    parts, _ = ask("tts")
    assert b"".join(bytes.fromhex(part["result"]) for part in parts) == b"alloy: Hello there"
    assert {part["mime_type"] for part in parts} == {"audio/mpeg"}
    for file in (b"spoken", b"spoken".hex()):
        assert ask("speech2text", {**REQUESTS["speech2text"], "file": file})[0] == [{"result": "spoken"}]
    assert ask("moderation")[0] == [{"result": True}]


def test_a_summary_follows_its_instruction() -> None:
    """It is made by the model that the operator has named for it."""
    (answer,), call = ask("system_summary", summary_model="small")
    assert answer["summary"].startswith("You said: a long text")
    assert call["request"]["model"] == "small"
    assert call["request"]["messages"][0]["content"].endswith("be brief")


def test_an_app_is_a_model_with_instructions() -> None:
    """Inputs are put into the instructions, once: nothing in an input is taken for another."""
    inputs = {"name": "{{ age }}", "age": 7, "file": {}}
    request = {**REQUESTS["app"], "inputs": inputs, "response_mode": "blocking", "conversation_id": "mine"}
    (answer,), call = ask("app", request, **APPS)
    assert (answer["event"], answer["mode"], answer["conversation_id"]) == ("message", "chat", "mine")
    assert answer["answer"] == "You said: hello there"
    LlmUsage.model_validate(answer["metadata"]["usage"])
    assert call["request"]["model"] == "small"
    assert call["request"]["messages"] == [
        {"role": "system", "content": "You are {{ age }}, 7. {{other}}"},
        {"role": "user", "content": "hello there"},
    ]
    events, _ = ask("app", **APPS)
    assert {event["event"] for event in events[:-1]} == {"message"}
    assert "".join(event["answer"] for event in events[:-1]) == "You said: hello there"
    assert events[-1]["event"] == "message_end"
    assert len({event["message_id"] for event in events}) == 1


@pytest.mark.parametrize(
    ("models", "name"),
    [
        ({}, "gpt-4o"),
        ({"gpt-4o": "llama"}, "llama"),
        ({"langgenius/openai/openai/gpt-4o": "mine", "gpt-4o": "llama"}, "mine"),
        ({"other": "other", "*": "small"}, "small"),
    ],
)
def test_models_have_names_of_the_servers(models: dict[str, str], name: str) -> None:
    """The most particular one counts; answers have the plugin's name for it."""
    parts, call = ask("llm", models=models)
    assert call["request"]["model"] == name
    assert parts[0]["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("kind", "request_", "text"),
    [
        (
            "llm",
            {**REQUESTS["llm"], "model": "other"},
            "the model other is not one of those that `reverse.openai.models`",
        ),
        ("llm", {**REQUESTS["llm"], "model": ""}, "`model` has to be a text that is not empty"),
        ("llm", {**REQUESTS["llm"], "prompt_messages": []}, "`prompt_messages` has to be a list of at least one"),
        (
            "llm",
            {**REQUESTS["llm"], "prompt_messages": [{"role": "root"}]},
            "`prompt_messages[].role` has to be one of",
        ),
        ("llm", {**REQUESTS["llm"], "prompt_messages": [7]}, "`prompt_messages` has to be a map"),
        ("llm", {**REQUESTS["llm"], "tools": [{"name": 7}]}, "`tools[].name` has to be a text"),
        ("llm", {**REQUESTS["llm"], "completion_params": 7}, "`completion_params` has to be a map"),
        (
            "llm",
            {**REQUESTS["llm"], "prompt_messages": [{"role": "user", "content": [{"type": "video", "url": "x"}]}]},
            "`prompt_messages[].content[].type` has to be text, image,",
        ),
        (
            "llm",
            {**REQUESTS["llm"], "completion_params": {"response_format": "json_schema", "json_schema": "{"}},
            "`completion_params.json_schema` has to be a JSON schema",
        ),
        ("app", {**REQUESTS["app"], "app_id": "other"}, "the app other is not known here"),
        ("app", {**REQUESTS["app"], "query": None}, "only chats are answered here, and this call has no `query`"),
        ("system_summary", None, "there are no summaries: the operator has named no `reverse.openai.summary_model`"),
        ("text_embedding", {**REQUESTS["text_embedding"], "texts": ["a", 7]}, "`texts` has to be a list"),
        ("speech2text", {**REQUESTS["speech2text"], "file": "no digits"}, "`file` has to be bytes"),
        ("tool", None, "calls of the kind tool need Dify; the target openai answers app, llm,"),
        ("rerank", None, "calls of the kind rerank need Dify"),
        ("storage", {"opt": "get"}, "calls of the kind storage need Dify"),
        ("upload_file", None, "calls of the kind upload_file need Dify"),
    ],
)
def test_requests_that_cannot_be_answered_are_told(kind: str, request_: dict[str, Any] | None, text: str) -> None:
    """Before the server is asked."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        assert text in (await failure_of(target, make_call(kind, request_))).message
        assert stand_in.calls == []

    run(test, models={"gpt-4o": "gpt-4o"}, **APPS)


@pytest.mark.parametrize(
    ("fault", "text", "error_type"),
    [
        ("cut_event", "The model server broke the connection off: ", "InvokeConnectionError"),
        ("cut_head", "The model server broke the connection off: ", "InvokeConnectionError"),
        ("empty", "The model server broke its answer off: there is no end of it", "InvokeConnectionError"),
        ("endless", "answered with more than the 2097152 bytes that `part_size` allows", ""),
        ("error_event", "The model server failed: The server had an error", "InvokeServerUnavailableError"),
        ("event_not_json", "The model server answered with what is not JSON", "InvokeServerUnavailableError"),
        ("html", "The model server answered 502: <html>", "InvokeServerUnavailableError"),
        ("huge_event", "answered with more than the 2097152 bytes that `part_size` allows", ""),
        ("no_end", "The model server broke its answer off: there is no end of it", "InvokeConnectionError"),
        ("redirect", "The model server answered 307, a redirect", "InvokeConnectionError"),
        ("unavailable", "The model server answered 503: overloaded: try again", "InvokeServerUnavailableError"),
    ],
)
def test_whatever_the_server_does_is_an_error_with_its_cause(fault: str, text: str, error_type: str) -> None:
    """And with the id of the request."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.fault = fault
        error = await failure_of(target, make_call("llm"))
        assert text in error.message
        assert error.error_type == error_type
        assert "(request id " in error.message
        assert KEY not in error.message

    run(test, part_size="2 MiB", answer_size="16 MiB")


@pytest.mark.parametrize("kind", ["text_embedding", "speech2text", "moderation"])
@pytest.mark.parametrize("fault", ["empty", "garbage", "html", "unavailable"])
def test_other_kinds_fail_as_well(kind: str, fault: str) -> None:
    """With an error of ours, whatever the server says."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.fault = fault
        error = await failure_of(target, make_call(kind))
        assert error.error_type == "InvokeServerUnavailableError"
        assert error.message.startswith("The model server answered ")

    run(test)


@pytest.mark.parametrize(("fault", "count"), [("bytewise", 5), ("surprises", 5), ("no_usage", 5)])
def test_streams_are_read_however_they_come(fault: str, count: int) -> None:
    """In any pieces, with comments and fields that nobody needs; without usage it is told as nothing."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.fault = fault
        parts = await collect(target, make_call("llm"))
        assert text_of(parts) == "You said: one two"
        assert len(parts) >= count - 1
        usage = LlmChunk.model_validate(parts[-1]).delta.usage
        assert usage is not None
        assert usage.total_tokens == (0 if fault == "no_usage" else 13)

    run(test)


def test_a_wrong_key_is_told() -> None:
    """In the server's words; without a key, none is sent."""

    async def wrong(target: OpenAiTarget, _: OpenAiStandIn) -> None:
        error = await failure_of(target, make_call("llm"))
        assert "The model server answered 401: invalid_api_key: Incorrect API key provided." in error.message
        assert error.error_type == "InvokeAuthorizationError"

    async def none(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.key = ""
        assert len(await collect(target, make_call("llm"))) > 1

    run(wrong, key="wrong")
    run(none, key="")


def test_an_unknown_model_is_told() -> None:
    """In the server's words."""

    async def test(target: OpenAiTarget, _: OpenAiStandIn) -> None:
        error = await failure_of(target, make_call("llm"))
        assert "model_not_found: The model `unknown` does not exist" in error.message
        assert error.error_type == "InvokeBadRequestError"

    run(test, models={"*": "unknown"})


@pytest.mark.parametrize("kind", ["llm", "app", "llm_structured_output"])
def test_closing_an_answer_ends_the_request(kind: str) -> None:
    """The server sees the client go, and what came before was given at once."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.fault = "stalls"
        assert len(await take(target.call(make_call(kind)), 2)) == 2
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test, **APPS)


def test_cancelling_a_call_ends_the_request() -> None:
    """Also while it waits for the head."""

    async def test(target: OpenAiTarget, stand_in: OpenAiStandIn) -> None:
        stand_in.fault = "silent"
        task = asyncio.ensure_future(collect(target, make_call("text_embedding")))
        assert await asyncio.to_thread(stand_in.asked.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stand_in.left.wait, 60)

    run(test)
