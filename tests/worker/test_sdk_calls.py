"""Reverse calls of the bundled stand-in: the requests that it makes, what it makes of the answers, and its errors."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.worker.played_calls import PlayedCalls
from worker.calls import CallError
from worker.loader import STAND_IN
from worker.session import _find_session_class, make_session

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = {"provider": "p", "model": "m"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "total_price": "0.1", "currency": "EUR"}


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in can be imported, and is gone afterwards."""
    monkeypatch.syspath_prepend(STAND_IN)
    _find_session_class.cache_clear()
    yield
    _find_session_class.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "dify_plugin"]:
        del sys.modules[name]


def session_of(calls: PlayedCalls) -> Any:
    """A session that makes its calls there."""
    return make_session(invocation_id="i", hook_id="h", calls=calls)


def chunk(text: str, **delta: Any) -> dict[str, Any]:
    """A piece of the answer of a language model."""
    message = {"role": "assistant", "content": text, "tool_calls": []}
    return {"model": "m", "delta": {"index": 0, "message": message, **delta}}


def test_apps(sdk: None) -> None:
    """Streams are iterators over events, blocking calls give the first; arguments have the SDK's names."""
    calls = PlayedCalls([{"event": "a"}, {"event": "b"}], [{"answer": "x"}], [{"data": 1}], [{"c": 1}], [{"name": "n"}])
    app = session_of(calls).app
    events = app.chat.invoke(
        app_id="a", query="q", inputs={"i": 1}, response_mode="streaming", conversation_id="", user="u"
    )
    assert calls.made == []
    assert [event["event"] for event in events] == ["a", "b"]
    assert app.chat.invoke("a", "q", {}, "blocking") == {"answer": "x"}
    assert app.workflow.invoke("w", {"x": None}) == {"data": 1}
    assert list(app.completion.invoke("c", {}, "streaming", user="u")) == [{"c": 1}]
    assert app.fetch_app("f") == {"name": "n"}
    chat = {"app_id": "a", "query": "q", "inputs": {}, "response_mode": "blocking"}
    assert calls.made == [
        ("app", {**chat, "inputs": {"i": 1}, "response_mode": "streaming", "conversation_id": "", "user": "u"}),
        ("app", {**chat, "conversation_id": None, "user": None}),
        ("app", {"app_id": "w", "inputs": {"x": None}, "response_mode": "blocking", "user": None}),
        ("app", {"app_id": "c", "inputs": {}, "response_mode": "streaming", "user": "u"}),
        ("fetch_app", {"app_id": "f"}),
    ]
    assert all(call.over for call in calls.calls)


def test_language_models(sdk: None) -> None:
    """Chunks are records; without streaming they are put together."""
    from dify_plugin.entities.model.llm import LLMModelConfig
    from dify_plugin.entities.model.message import PromptMessageTool, UserPromptMessage

    tool_call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    first = chunk("Hel")
    first["delta"]["message"]["tool_calls"] = [tool_call]
    answer = [first, chunk("lo", usage=USAGE, finish_reason="stop")]
    calls = PlayedCalls(answer, answer, [{**chunk("{}"), "structured_output": {"a": 1}}], [{"summary": "short"}])
    model = session_of(calls).model
    messages = [UserPromptMessage(content="hi")]
    tools = [PromptMessageTool(name="f", description="", parameters={})]

    chunks = list(model.llm.invoke(LLMModelConfig(**MODEL, mode="chat"), messages, tools, ["x"]))
    assert [piece.delta.message.content for piece in chunks] == ["Hel", "lo"]
    assert chunks[0].delta.message.tool_calls[0].function.name == "f"
    assert chunks[1].delta.usage.total_tokens == 3

    result = model.llm.invoke(model_config={**MODEL, "mode": "chat"}, prompt_messages=messages, stream=False)
    assert (result.message.content, result.usage.total_tokens, result.usage.currency) == ("Hello", 3, "EUR")
    assert result.message.tool_calls[0].id == "1"

    structured = model.llm_structured_output.invoke(MODEL, messages, {"type": "object"}, stream=False)
    assert structured.structured_output == {"a": 1}
    assert model.summary.invoke("x" * 2000, "shorter") == "short"
    assert model.summary.invoke("brief", "shorter") == "brief"

    kind, request = calls.made[0]
    assert kind == "llm"
    assert request["model_type"] == "llm"
    assert request["prompt_messages"] == [{"role": "user", "content": "hi", "name": None}]
    assert (request["tools"][0]["name"], request["stop"], request["stream"]) == ("f", ["x"], True)
    assert calls.made[1][1]["tools"] is None
    assert calls.made[2][1]["structured_output_schema"] == {"type": "object"}
    assert calls.made[3] == ("system_summary", {"text": "x" * 2000, "instruction": "shorter"})


def test_other_models(sdk: None) -> None:
    """Each with its request; content travels as bytes."""
    from dify_plugin.entities.model import EmbeddingInputType
    from dify_plugin.entities.model.rerank import RerankModelConfig

    embedding = {"model": "m", "embeddings": [[0.5]], "usage": {"tokens": 1}}
    ranking = {"model": "m", "docs": [{"index": 0, "text": "d", "score": 0.5}]}
    calls = PlayedCalls(
        *([embedding], [embedding], [ranking], [ranking]),
        *([{"result": b"ab"}, {"result": "6364"}], [{"result": "said"}], [{"result": True}]),
    )
    model = session_of(calls).model
    assert model.text_embedding.invoke(MODEL, ["t"]).embeddings == [[0.5]]
    document = {"content": "t", "content_type": "text"}
    vectors = model.text_embedding.invoke_multimodal(MODEL, [document], EmbeddingInputType.DOCUMENT)
    assert vectors.usage.tokens == 1
    config = RerankModelConfig(**MODEL, score_threshold=0.1, top_n=2)
    assert model.rerank.invoke(config, ["d"], "q").docs[0].score == 0.5
    assert model.rerank.invoke_multimodal({**MODEL, "top_n": 1}, document, [document]).docs[0].text == "d"
    assert b"".join(model.tts.invoke({**MODEL, "voice": "v"}, "say")) == b"abcd"
    assert model.speech2text.invoke(MODEL, io.BytesIO(b"\0\xff")) == "said"
    assert model.moderation.invoke(MODEL, "bad") is True
    assert [kind for kind, _ in calls.made] == [
        *("text_embedding", "multimodal_embedding", "rerank", "multimodal_rerank"),
        *("tts", "speech2text", "moderation"),
    ]
    assert calls.made[0][1] == {**MODEL, "model_type": "text-embedding", "texts": ["t"], "input_type": "query"}
    assert calls.made[1][1]["documents"] == [document]
    assert calls.made[2][1]["top_n"] == 2
    assert calls.made[4][1]["content_text"] == "say"
    assert calls.made[5][1]["file"] == b"\0\xff"


def test_tools_and_nodes(sdk: None) -> None:
    """Messages of tools are records of the class that their content tells."""
    from dify_plugin.core.runtime import InvokeCredentials, SessionContext
    from dify_plugin.entities.tool import ToolInvokeMessage, ToolProviderType
    from dify_plugin.entities.workflow_node import ClassConfig, ModelConfig, ParameterConfig

    kinds = ToolInvokeMessage.MessageType
    answer = [
        {"type": "text", "message": {"text": "t"}, "meta": None},
        {"type": "json", "message": {"json_object": {"a": 1}}},
        {"type": "blob", "message": {"blob": "YWI="}, "meta": {"mime_type": "x"}},
        {"type": "variable", "message": {"variable_name": "v", "variable_value": 1}},
        {"type": "file", "message": {"file_marker": "x"}},
    ]
    calls = PlayedCalls(answer, [], [], [], [{"outputs": {"x": 1}}], [{"outputs": {"class": "a"}}])
    session = session_of(calls)
    session.context = SessionContext(InvokeCredentials({"p": "c0"}))
    text, json, blob, variable, file = session.tool.invoke_builtin_tool("p", "t", {"x": 1})
    assert (text.type, text.message.text) == (kinds.TEXT, "t")
    assert json.message.json_object == {"a": 1}
    assert (blob.message.blob, blob.meta) == (b"ab", {"mime_type": "x"})
    assert variable.message.variable_name == "v"
    assert file.type is kinds.FILE
    assert list(session.tool.invoke_workflow_tool("q", "t", {})) == []
    assert list(session.tool.invoke_api_tool("q", "t", {})) == []
    assert list(session.tool.invoke(ToolProviderType.MCP, "q", "t", {}, credential_id="c")) == []
    node = session.workflow_node
    model = ModelConfig(provider="p", name="n", mode="chat", completion_params={})
    parameters = [ParameterConfig(name="a", type="string")]
    assert node.parameter_extractor.invoke(parameters, model, "q", "i").outputs == {"x": 1}
    assert node.question_classifier.invoke([ClassConfig(id="1", name="a")], model, "q").outputs == {"class": "a"}

    assert calls.made[0] == (
        "tool",
        {
            "tool_type": "builtin",
            "provider": "p",
            "tool": "t",
            "tool_parameters": {"x": 1},
            "credential_id": "c0",
        },
    )
    assert [request["tool_type"] for kind, request in calls.made if kind == "tool"] == [
        *("builtin", "workflow", "api", "mcp")
    ]
    assert "credential_id" not in calls.made[1][1]
    assert calls.made[3][1]["credential_id"] == "c"
    assert calls.made[4][1]["parameters"] == [{"name": "a", "type": "string", "description": None, "required": None}]
    assert calls.made[5][1]["model"]["mode"] == "chat"


def test_storage(sdk: None) -> None:
    """The four operations of the SDK, time to live and compare-and-set; values are bytes both ways."""
    from dify_plugin.invocations.storage import StorageInvocationError

    calls = PlayedCalls(
        *([{"data": "ok"}], [{"data": "ok"}], [{"data": b"\xff"}], [{"data": "6162"}], [{"data": "ok"}]),
        *([{"data": False}], [{"data": True}], [{"data": False}], [{"data": "no"}]),
    )
    storage = session_of(calls).storage
    storage.set("k", b"\0")
    storage.set("k", bytearray(b"\1"), ttl_s=1.5)
    assert storage.get("k") == b"\xff"
    assert storage.get("k") == b"ab"
    storage.delete("k")
    assert storage.exist("k") is False
    assert storage.compare_and_set("k", None, b"1") is True
    assert storage.compare_and_set("k", b"1", b"2", ttl_s=9) is False
    with pytest.raises(StorageInvocationError, match="unexpected data: no"):
        storage.set("k", b"")
    assert calls.made == [
        ("storage", {"opt": "set", "key": "k", "value": b"\0"}),
        ("storage", {"opt": "set", "key": "k", "value": b"\1", "ttl_s": 1.5}),
        ("storage", {"opt": "get", "key": "k"}),
        ("storage", {"opt": "get", "key": "k"}),
        ("storage", {"opt": "del", "key": "k"}),
        ("storage", {"opt": "exist", "key": "k"}),
        ("storage", {"opt": "compare_and_set", "key": "k", "expected": None, "value": b"1"}),
        ("storage", {"opt": "compare_and_set", "key": "k", "expected": b"1", "value": b"2", "ttl_s": 9}),
        ("storage", {"opt": "set", "key": "k", "value": b""}),
    ]


def test_files(sdk: None) -> None:
    """The content goes with the call, and the answer tells what an app takes."""
    file = {"id": "1", "name": "a.png", "size": 2, "extension": "png", "mime_type": "image/png"}
    calls = PlayedCalls([file])
    uploaded = session_of(calls).file.upload(filename="a.png", content=b"\0\1", mimetype="image/png")
    assert uploaded.to_app_parameter() == {"tool_file_id": "1", "transfer_method": "tool_file", "type": "image"}
    assert calls.made == [("upload_file", {"filename": "a.png", "mimetype": "image/png", "content": b"\0\1"})]


def test_errors(sdk: None) -> None:
    """Whatever goes wrong is one class with the text, and never a ValueError, which would be a 404."""
    from dify_plugin.core.runtime import ReverseCallError, Session
    from dify_plugin.invocations.app.chat import ChatAppInvocation

    calls = PlayedCalls([{"event": "a"}, CallError("the app is tired")], [], [None])
    session = session_of(calls)
    events = session.app.chat.invoke("a", "q", {}, "streaming")
    assert next(events) == {"event": "a"}
    with pytest.raises(ReverseCallError, match=r"^the app is tired$") as caught:
        next(events)
    assert not isinstance(caught.value, ValueError)
    with pytest.raises(ReverseCallError, match="no response to the call storage"):
        session.storage.get("k")
    session.max_invocation_timeout = 7
    with pytest.raises(ReverseCallError, match="exited without response after 7 seconds"):
        list(session.app.chat.invoke("a", "q", {}, "streaming"))
    assert calls.calls[-1].timeouts == [7]
    with pytest.raises(ReverseCallError, match="nobody is there"):
        session.storage.get("k")
    with pytest.raises(ReverseCallError, match="does not support"):
        list(ChatAppInvocation(Session()).invoke("a", "q", {}, "streaming"))


def test_a_stream_that_is_left_is_closed(sdk: None) -> None:
    """Whoever stops reading tells the executor so."""
    calls = PlayedCalls([{"n": 1}, {"n": 2}])
    events = session_of(calls).app.chat.invoke("a", "q", {}, "streaming")
    next(events)
    assert not calls.calls[0].over
    events.close()
    assert calls.calls[0].over
