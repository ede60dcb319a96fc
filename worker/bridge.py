"""Reverse calls of the real SDK, whatever its version: its own classes make them, over our pipes.

Theory of operation. Every version of the SDK does the same: it gives `session.writer` a message

    {type: "invoke", data: {type: KIND, backwards_request_id: ID, request: {...}}}

and then reads events `backwards_response` from `session.reader`, choosing its own by a filter that it is asked about:

    with session.reader.read(filter) as events:
        for event in events.read(timeout_for_round=1):      # None when nothing has come for a second

Our writer makes the call when the message is written. Our reader finds out which call a filter is for by asking it
about each one that nobody reads yet. Time-outs are the SDK's: it counts the rounds without an event.

Bytes are text in the SDK's requests and answers, because it writes JSON; on our pipes they are bytes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final, NoReturn, Self

from protocol import ProtocolError
from worker.calls import CallError, CallSource, OpenCall

__all__ = ["SdkReader", "SdkWriter", "carry_uploads"]

HEX_FIELDS: Final = {"storage": "value", "speech2text": "file"}
"""Fields of requests that the SDK writes in hexadecimal, by the kind of call."""

MAX_UNREAD: Final = 1024
"""Calls that were made and that nobody reads: the SDK reads each at once, so there are no more than it has threads."""


class SdkWriter:
    """Stands for the SDK's `ResponseWriter` in a session.

    Args:
        calls: Makes the calls.
    """

    def __init__(self, calls: CallSource) -> None:
        self._calls = calls
        self.unread: dict[str, OpenCall | CallError] = {}

    def stream_invoke_object(self, data: Any) -> dict[str, Any]:
        """Put a call into the form of a message."""
        return {"type": "invoke", "data": data}

    def session_message(self, session_id: str | None = None, data: Any = None) -> None:
        """Make the call that is in a message. If that fails, whoever reads its answer is told."""
        del session_id
        message = data if isinstance(data, Mapping) else data.model_dump()
        call = message["data"]
        kind, identifier = str(call["type"]), str(call["backwards_request_id"])
        if len(self.unread) >= MAX_UNREAD:
            raise CallError(f"{kind}: {MAX_UNREAD} calls were made whose answers nobody reads")
        try:
            self.unread[identifier] = self._calls.open(kind, _decode_request(kind, call["request"]))
        except CallError as error:
            self.unread[identifier] = error

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"session.writer.{name}: an endpoint's answer is what it returns; nothing is written here")


class SdkReader:
    """Stands for the SDK's `RequestReader` in a session.

    Args:
        writer: Where the calls are made.
    """

    def __init__(self, writer: SdkWriter) -> None:
        self._writer = writer

    def read(self, filter: Callable[[Any], bool]) -> _Events:  # noqa: A002 - the SDK's name
        """Read the events of the call that a filter is for."""
        for identifier in tuple(self._writer.unread):
            if filter(_make_event(identifier, "response", None)):
                return _Events(identifier, self._writer.unread.pop(identifier))
        raise CallError("no call was made whose answer could be read")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"session.reader.{name}: only answers to reverse calls can be read here")


class _Events:
    """The events of one call; stands for the SDK's `FilterReader`."""

    def __init__(self, identifier: str, call: OpenCall | CallError) -> None:
        self._identifier = identifier
        self._call = call

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Read nothing more."""
        if not isinstance(self._call, CallError):
            self._call.close()

    def read(self, timeout_for_round: float | None = None) -> Iterator[Any]:
        """Iterate over the events; None for each round in which nothing has come."""
        try:
            if isinstance(self._call, CallError):
                raise self._call
            while True:
                items = self._call.read(timeout_for_round)
                if items:
                    yield _make_event(self._identifier, "response", _encode_bytes(items[0]))
                elif self._call.over:
                    break
                else:
                    yield None
        except (CallError, ProtocolError) as error:
            yield _make_event(self._identifier, "error", None, str(error))
        yield _make_event(self._identifier, "end", None)


def _make_event(identifier: str, event: str, data: object, message: str = "") -> SimpleNamespace:
    io = importlib.import_module("dify_plugin.core.entities.plugin.io")
    content = {"backwards_request_id": identifier, "event": event, "message": message, "data": data}
    return SimpleNamespace(event=io.PluginInStreamEvent.BackwardInvocationResponse, data=content)


def _decode_request(kind: str, request: Mapping[str, object]) -> Mapping[str, object]:
    name = HEX_FIELDS.get(kind, "")
    value = request.get(name)
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if not isinstance(value, str):
        return request
    try:
        return {**request, name: bytes.fromhex(value)}
    except ValueError as error:
        raise CallError(f"{kind}: {name} is not hexadecimal: {error}") from None


def _encode_bytes(item: object) -> object:
    if isinstance(item, dict):
        return {key: value.hex() if isinstance(value, bytes) else value for key, value in item.items()}
    return item


def carry_uploads() -> None:
    """Have the SDK's `File.upload` give the content to the call; the worker has no network to send it anywhere."""
    module = importlib.import_module("dify_plugin.invocations.file")
    kinds = importlib.import_module("dify_plugin.core.entities.invocation").InvokeType

    def upload(self: Any, filename: str, content: Any, mimetype: str) -> Any:
        """Upload a file."""
        data = content.read() if hasattr(content, "read") else content
        request = {
            "filename": filename,
            "mimetype": mimetype,
            "content": data.encode() if isinstance(data, str) else bytes(data),
        }
        for answer in self._backwards_invoke(kinds.UploadFile, dict, request):
            return module.UploadFileResponse(**answer)
        raise CallError("upload file failed, empty response from server")

    module.File.upload = upload
