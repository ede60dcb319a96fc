"""Reverse calls answered by a Dify daemon that runs its plugins here: `PLATFORM=serverless`.

The daemon knows whose call it is from the session, which it has made for the request that the endpoint serves. It
checks the permissions of the plugin's manifest, answers `storage` itself, and asks Dify for everything else. What it
says of a call that failed is passed on as it is. The session's id never comes near the endpoint.

Source: langgenius/dify-plugin-daemon bdb5642a, io_tunnel/backwards_invocation/transaction; langgenius/dify-plugin-sdks,
`_http_backwards_invoke`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Final, final

from executor.config.reverse_targets import DaemonSettings
from executor.reverse.call import CallFailedError, ReverseCall
from executor.reverse.targets.answer import Answer
from executor.reverse.targets.failures import BAD_REQUEST, CONNECTION, UNAVAILABLE, shorten
from executor.reverse.targets.http import HttpPeer
from executor.reverse.targets.lines import LineReader, LongLineError
from executor.reverse.targets.plain import encode_request, hex_text
from executor.reverse.targets.upload import Uploader

__all__ = ["DaemonTarget"]

PATH: Final = "/backwards-invocation/transaction"
MAX_REQUEST: Final = 6 * 1024**2
"""Bytes of a request that the daemon reads; it takes what is longer for broken."""

_SESSION: Final = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)


@final
class DaemonTarget:
    """A Dify daemon.

    Args:
        settings: Where it is, and what is waited for.
    """

    def __init__(self, settings: DaemonSettings) -> None:
        self._url = settings.url + PATH
        self._peer = HttpPeer("Dify's daemon", settings)
        self._uploader = Uploader(self._peer, settings.files_url)

    async def close(self) -> None:
        """Close all connections."""
        await self._peer.close()

    async def call(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        """Answer one call, as `CallTarget` says.

        Raises:
            CallFailedError: There is no answer, or no more of it.
        """
        file = self._uploader.check(call.request) if call.kind == "upload_file" else None
        async with aclosing(self._ask(call)) as answers:
            async for data in answers:
                yield data if file is None else await self._uploader.upload(data, file)

    async def _ask(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        number = uuid.uuid4().hex
        headers = {"Dify-Plugin-Session-ID": _session(call), "Accept-Encoding": "gzip"}
        async with self._peer.post(self._url, _message(call, number), headers=headers) as answer:
            await answer.check_status()
            reader = LineReader(answer.part_size)
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    for line in _lines(answer, reader, piece):
                        event = _event(answer, line, number)
                        if event["event"] == "end":
                            return
                        yield _data(answer, event)
        raise answer.failure("broke its answer off: there is no end of it", CONNECTION)


def _session(call: ReverseCall) -> str:
    if not _SESSION.fullmatch(call.session_id):
        raise CallFailedError("this invocation has no session of a Dify daemon", BAD_REQUEST)
    return call.session_id


def _message(call: ReverseCall, number: str) -> bytes:
    """Write the event that asks.

    Raises:
        CallFailedError: It cannot be written, or the daemon would not read it.
    """
    request = {name: value for name, value in call.request.items() if name != "content" or call.kind != "upload_file"}
    for name in ("file", "value"):
        if isinstance(request.get(name), bytes):
            request[name] = hex_text(request[name], name)
    invoke = {"type": call.kind, "backwards_request_id": number, "request": request}
    event = {"event": "session", "session_id": call.session_id, "data": {"type": "invoke", "data": invoke}}
    message = encode_request(event) + b"\n\n"
    if len(message) > MAX_REQUEST:
        text = f"the request has {len(message)} bytes, more than the {MAX_REQUEST} that Dify's daemon takes"
        raise CallFailedError(text, BAD_REQUEST)
    return message


def _lines(answer: Answer, reader: LineReader, piece: bytes) -> Iterator[bytes]:
    try:
        yield from reader.feed(piece)
    except LongLineError:
        answer.refuse_size("part_size", answer.part_size)


def _event(answer: Answer, line: bytes, number: str) -> Mapping[str, object]:
    """Take an event of our call out of a line."""
    message = answer.parse(line)
    event = message.get("data") if isinstance(message, dict) and message.get("event") == "backwards_response" else None
    if not isinstance(event, dict) or event.get("event") not in ("response", "error", "end"):  # it may be unhashable
        raise answer.failure("answered with something else than an answer to a call", UNAVAILABLE)
    if event.get("backwards_request_id") != number:
        raise answer.failure("answered another call than ours", UNAVAILABLE)
    return event


def _data(answer: Answer, event: Mapping[str, object]) -> object:
    data = event.get("data")
    if event["event"] == "error":
        text = event.get("message")
        kind = data.get("error_type") if isinstance(data, dict) else None
        text = shorten(text) if isinstance(text, str) and text else "the call failed"
        raise CallFailedError(text, shorten(kind) if isinstance(kind, str) else "")
    if data is None:
        raise answer.failure("answered without data", UNAVAILABLE)
    return data
