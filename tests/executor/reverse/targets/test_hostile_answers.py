"""Whatever bytes a server answers with, a call gives plain data or fails as calls fail; nothing else comes out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.config.reverse_targets import DaemonSettings, DifySettings, OpenAiSettings
from executor.reverse.call import CallFailedError
from executor.reverse.targets.daemon import DaemonTarget
from executor.reverse.targets.dify import DifyTarget
from executor.reverse.targets.failures import MAX_TEXT
from executor.reverse.targets.openai import OpenAiTarget
from tests.executor.reverse.targets.support import make_call
from tests.stand_ins.dify import frame


def _line(data: Any) -> bytes:
    return json.dumps({"event": "backwards_response", "data": data}).encode() + b"\n"


def _event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


NAMES: Final = st.sampled_from(
    [
        "arguments",
        "backwards_request_id",
        "choices",
        "content",
        "data",
        "delta",
        "embedding",
        "embeddings",
        "error",
        "event",
        "finish_reason",
        "flagged",
        "function",
        "id",
        "index",
        "message",
        "name",
        "results",
        "text",
        "tool_calls",
        "usage",
    ]
)
"""What the targets look for."""

VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["end", "response"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BYTES: Final = st.binary(max_size=30) | VALUES.map(lambda value: json.dumps(value).encode())

DIFY: Final = st.lists(BYTES | BYTES.map(frame) | VALUES.map(lambda data: frame({"data": data})), max_size=4)
DAEMON: Final = st.lists(
    BYTES
    | VALUES.map(lambda data: _line({"event": "response", "backwards_request_id": "NUMBER", "data": data}))
    | VALUES.map(lambda data: _line({"event": "error", "backwards_request_id": "NUMBER", "message": data}))
    | VALUES.map(_line)
    | st.just(b'{"event": "backwards_response", "data": {"event": "end", "backwards_request_id": "NUMBER"}}\n'),
    max_size=4,
)
OPENAI: Final = st.lists(
    BYTES
    | BYTES.map(lambda data: b"data: " + data + b"\n\n")
    | VALUES.map(lambda delta: _event({"choices": [{"delta": delta, "finish_reason": "stop"}]}))
    | VALUES.map(lambda usage: _event({"choices": [], "usage": usage}))
    | st.just(b"data: [DONE]\n"),
    max_size=5,
)


class HostileServer:
    """Answers every request with what it is told to, and closes the connection."""

    def __init__(self) -> None:
        self.body = b""
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        request = await reader.readexactly(int(size.split(b":")[1]))
        number = request.partition(b'"backwards_request_id":"')[2][:32]
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + self.body.replace(b"NUMBER", number))
        writer.close()


MAKERS: Final[dict[str, tuple[Callable[[str], Any], st.SearchStrategy[list[bytes]], tuple[str, ...]]]] = {
    "dify": (
        lambda url: DifyTarget(DifySettings.model_validate({"url": url, "api_key": "k"}), "k"),
        DIFY,
        ("llm", "moderation", "fetch_app", "upload_file"),
    ),
    "daemon": (
        lambda url: DaemonTarget(DaemonSettings.model_validate({"url": url})),
        DAEMON,
        ("llm", "upload_file"),
    ),
    "openai": (
        lambda url: OpenAiTarget(OpenAiSettings.model_validate({"url": url, "apps": {"*": {"model": "m"}}}), ""),
        OPENAI,
        ("llm", "llm_structured_output", "app", "text_embedding", "moderation", "tts"),
    ),
}


KEY: Final = "sk-" + "0123456789abcdef" * 2
KEYED: Final[dict[str, Callable[[str], Any]]] = {
    "dify": lambda url: DifyTarget(DifySettings.model_validate({"url": url, "api_key": KEY}), KEY),
    "openai": lambda url: OpenAiTarget(OpenAiSettings.model_validate({"url": url}), KEY),
}


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "500 Internal Server Error"])
@pytest.mark.parametrize("before", [0, MAX_TEXT - 30])
@pytest.mark.parametrize("name", KEYED)
def test_keys_that_servers_repeat(name: str, status: str, before: int) -> None:
    """No endpoint sees one, nor the beginning of one that a cut has left."""
    said = f"{'x' * before} wrong key {KEY}"
    document = {"error": said if name == "dify" else {"message": said}}

    async def ask() -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = json.dumps(document).encode()
            if status.startswith("200"):
                body = frame(document) if name == "dify" else _event(document)
            writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode() + body)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            target = KEYED[name](f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            try:
                with pytest.raises(CallFailedError) as caught:
                    async for _ in target.call(make_call("llm")):
                        pass
            finally:
                await target.close()
        return caught.value.message

    message = asyncio.run(ask())
    assert "wrong key" in message
    assert KEY[:6] not in message


ODD: Final = [
    ("daemon", "llm", b'{"event": []}\n'),
    ("daemon", "llm", b'{"event": "backwards_response", "data": {"event": []}}\n'),
    ("daemon", "llm", b'{"event": "backwards_response", "data": {"event": "end", "backwards_request_id": []}}\n'),
    ("openai", "llm", _event({"choices": [{"delta": {"tool_calls": [{"id": [1]}]}}]})),
    ("openai", "llm", _event({"choices": [{"delta": {"tool_calls": [{"index": {}, "id": {"a": 1}}]}}]})),
    ("openai", "text_embedding", b'{"data": [{"embedding": [1' + b"0" * 400 + b']}, {"embedding": [1]}]}'),
    ("dify", "llm", frame({"data": {"error": []}})),
    ("dify", "llm", frame([])),
]
"""Kinds of values where others are expected, which generated answers meet too rarely."""


@pytest.mark.parametrize(("name", "kind", "body"), ODD)
def test_odd_answers(name: str, kind: str, body: bytes) -> None:
    """They are failures of the call, and none of ours."""
    server = HostileServer()
    server.body = body

    async def ask() -> None:
        async with server.serving():
            target = MAKERS[name][0](server.url)
            try:
                with contextlib.suppress(CallFailedError):
                    async for data in target.call(make_call(kind)):
                        json.dumps(data, allow_nan=False).encode()
            finally:
                await target.close()

    asyncio.run(ask())


@pytest.mark.parametrize("name", MAKERS)
def test_only_plain_data_or_failures_come_out(name: str) -> None:
    """For every kind that has an answer of its own."""
    make, bodies, kinds = MAKERS[name]
    server = HostileServer()

    async def ask(target: Any, kind: str) -> int:
        count = 0
        try:
            async for data in target.call(make_call(kind)):
                json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
                count += 1
        except CallFailedError as error:
            error.message.encode()
        return count

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        runner.run(stack.enter_async_context(server.serving()))
        target = make(server.url)
        stack.push_async_callback(target.close)
        counts: list[int] = []

        @settings(max_examples=150)
        @given(body=bodies, kind=st.sampled_from(kinds))
        def try_it(body: list[bytes], kind: str) -> None:
            server.body = b"".join(body)
            counts.append(runner.run(ask(target, kind)))

        try_it()
        runner.run(stack.aclose())
    assert any(counts), "nothing ever came out, so this tests nothing"
