"""A stand-in for Dify's inner API: its paths, its key, its checks, its two kinds of answers, and what may go wrong.

```text
python -m tests.stand_ins.dify --port 5001 --key secret
curl -d '{"tenant_id": "t", "user_id": "", "app_id": "a", "inputs": {}, "query": "hi", "response_mode": "blocking"}' \
     -H 'X-Inner-Api-Key: secret' http://127.0.0.1:5001/inner/api/invoke/app
curl http://127.0.0.1:5001/calls
```

Answers depend on the request only (`tests.stand_ins.dify_answers`). `GET /calls` lists what was asked and uploaded,
`DELETE /calls` forgets it, and `PUT /fault` with `{"path": "invoke/llm", "fault": "silent"}` has the next requests
there answered wrongly; no path: all of them, no fault: none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import threading
from email import message_from_bytes
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from tests.stand_ins.dify_answers import ANSWERS, REQUIRED, STREAMS, RefusedError
from tests.stand_ins.faults import FAULTS, answer_wrongly
from tests.stand_ins.server import CutError, Exchange, running

__all__ = ["STREAM_FAULTS", "UPLOAD", "DifyStandIn", "frame"]

PREFIX: Final = "/inner/api/"
UPLOAD: Final = "/files/upload/for-plugin"
STREAM_FAULTS: Final = (
    "bytewise",
    "cut_part",
    "error_part",
    "huge_part",
    "keep_alives",
    "part_not_json",
    "stalls",
    "wrong_header",
)


def frame(document: object) -> bytes:
    """Put the length in front of a part of a stream."""
    data = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    return struct.pack("<BBHI6x", 0x0F, 0, 10, len(data)) + data


class DifyStandIn:
    """Dify, as seen by its plugin daemon.

    Attributes:
        calls: What was asked, in order: `path`, `request`, `headers`.
        refusals: What it has said no to, in order.
        uploads: Files that were uploaded: `filename`, `mimetype`, `content`.
        asked: Set when something was asked.
        left: Set when a client has gone before its answer was complete.
        files_url: Where it wants files; its own address unless it is set.
        tenants: Ids of workspaces; any unless some are named.
        knows_users: Whether it makes end users of ids that it does not know, as newer versions do.
    """

    def __init__(self, key: str = "inner-key") -> None:
        self.key = key
        self.calls: list[dict[str, Any]] = []
        self.refusals: list[str] = []
        self.uploads: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.left = threading.Event()
        self.files_url: str | None = None
        self.knows_users = True
        self.tenants: set[str] = set()
        self._faults: dict[str, str] = {}

    def fail(self, fault: str, path: str = "") -> None:
        """Answer wrongly from now on, at one path or all; an empty fault ends that."""
        assert fault in {"", *FAULTS, *STREAM_FAULTS}, fault
        self._faults[path] = fault

    async def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        if exchange.path.startswith(PREFIX):
            await self._inner(exchange, exchange.path.removeprefix(PREFIX))
        elif exchange.path == UPLOAD and exchange.method == "POST":
            await self.take_upload(exchange)
        elif exchange.path == "/calls":
            await self._list(exchange)
        elif exchange.path == "/fault" and exchange.method == "PUT":
            document = json.loads(exchange.body)
            self.fail(document.get("fault", ""), document.get("path", ""))
            await exchange.answer_json({})
        else:
            await exchange.answer_json({"code": "not_found", "message": "Not Found", "status": 404}, 404)

    async def _inner(self, exchange: Exchange, path: str) -> None:
        fault = self._faults.get(path) or self._faults.get("") or ""
        if exchange.headers.get("x-inner-api-key") != self.key:
            await exchange.answer_json({"code": "not_found", "message": "Not Found", "status": 404}, 404)
            return
        try:
            request = self._check(exchange, path)
            self.calls.append({"path": path, "request": request, "headers": exchange.headers})
            self.asked.set()
            if fault in FAULTS:
                await self._answer_wrongly(exchange, fault)
                return
            answer: Any = (
                self.upload_place(exchange, request) if path == "upload/file/request" else ANSWERS[path](request)
            )
        except RefusedError as error:
            self.refusals.append(str(error))
            await exchange.answer_json(error.document, error.status)
            return
        if path in STREAMS:
            await self._stream(exchange, answer, fault)
        else:
            await exchange.answer_json({"data": answer, "error": ""})

    def _check(self, exchange: Exchange, path: str) -> dict[str, Any]:
        """Check a request as Dify's decorators do."""
        if exchange.method != "POST" or path not in REQUIRED:
            raise RefusedError("Not Found", "not_found", 404)
        try:
            request = json.loads(exchange.body)
        except ValueError:
            raise RefusedError("invalid json") from None
        if not isinstance(request, dict) or not request.get("tenant_id"):
            raise RefusedError("tenant_id is required")
        if self.tenants and request["tenant_id"] not in self.tenants:
            raise RefusedError("tenant not found")
        if not isinstance(request.get("user_id"), str):
            raise RefusedError("invalid payload: user_id")
        if request["user_id"] and not self.knows_users:
            raise RefusedError("user not found")
        for name, kind in REQUIRED[path].items():
            if not isinstance(request.get(name), kind):
                raise RefusedError(f"invalid payload: {name}")
        return request

    async def _answer_wrongly(self, exchange: Exchange, fault: str) -> None:
        try:
            await answer_wrongly(exchange, fault)
        finally:
            self.left.set()

    async def _stream(self, exchange: Exchange, parts: list[Any], fault: str) -> None:
        await exchange.start(200, {"content-type": "text/event-stream"})
        first, *others = [frame({"data": part, "error": ""}) for part in parts]
        if fault == "bytewise":
            for byte in b"".join([first, *others]):
                await exchange.send(bytes([byte]))
                await asyncio.sleep(0)
            await exchange.end()
            return
        await exchange.send(first)
        if fault == "stalls":
            await exchange.wait_for_disconnect()
            self.left.set()
            return
        if fault == "cut_part":
            await exchange.send(first[:-1])
            raise CutError
        for other in _spoil(fault, others):
            await exchange.send(other)
        await exchange.end()

    def upload_place(self, exchange: Exchange, request: dict[str, Any]) -> dict[str, str]:
        """Answer the first half of an upload: where the file is to go, signed."""
        base = self.files_url if self.files_url is not None else f"http://{exchange.headers['host']}"
        query = {name: request.get(name, "") for name in ("tenant_id", "user_id", "filename", "mimetype")}
        return {"url": f"{base}{UPLOAD}?{urlencode({'timestamp': 1, 'nonce': 'n', 'sign': 'signed', **query})}"}

    async def take_upload(self, exchange: Exchange) -> None:
        """Answer the second half: take the file."""
        signed = {name: values[0] for name, values in parse_qs(exchange.query, keep_blank_values=True).items()}
        head = f"Content-Type: {exchange.headers.get('content-type', '')}\r\n\r\n".encode()
        parts = {part.get_param("name", header="content-disposition"): part for part in _parts(head + exchange.body)}
        part = parts.get("file")
        if part is None or signed.get("sign") != "signed" or "x-inner-api-key" in exchange.headers:
            await exchange.answer_json({"code": "forbidden", "message": "Invalid request.", "status": 403}, 403)
            return
        name, kind, content = part.get_filename(), part.get_content_type(), part.get_payload(decode=True)
        if (name, kind) != (signed["filename"], signed["mimetype"]):
            await exchange.answer_json({"code": "forbidden", "message": "Invalid request.", "status": 403}, 403)
            return
        self.uploads.append({"filename": name, "mimetype": kind, "content": content})
        extension = "." + name.rpartition(".")[2] if "." in name else ".bin"
        number = f"00000000-0000-4000-8000-{len(self.uploads):012}"
        document = {"id": number, "name": name, "size": len(content), "extension": extension, "mime_type": kind}
        preview = {"preview_url": f"http://{exchange.headers['host']}/files/tools/{number}{extension}?sign=signed"}
        await exchange.answer_json({**document, **preview, "user_id": signed["user_id"], "original_url": None}, 201)

    async def _list(self, exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            self.calls.clear()
            self.uploads.clear()
        calls = [{"path": call["path"], "request": call["request"]} for call in self.calls]
        uploads = [{**upload, "content": upload["content"].hex()} for upload in self.uploads]
        await exchange.answer_json({"calls": calls, "uploads": uploads})


def _spoil(fault: str, others: list[bytes]) -> list[bytes]:
    """What comes after the first part of a stream."""
    wrong = {
        "error_part": [frame({"data": None, "error": "[openai] Error: the model is on holiday"})],
        "huge_part": [struct.pack("<BBHI6x", 0x0F, 0, 10, 2**32 - 1), b"x" * 1000],
        "keep_alives": [frame(b"event: ping\n\n"), *others],
        "part_not_json": [frame(b"<html>")],
        "wrong_header": [struct.pack("<BBHI8x", 0x0F, 0, 12, 2) + b"{}"],
    }
    return wrong.get(fault, others)


def _parts(document: bytes) -> list[Any]:
    payload = message_from_bytes(document).get_payload()
    return payload if isinstance(payload, list) else []


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in for Dify's inner API.")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--key", default="inner-key")
    options = parser.parse_args()
    with running(DifyStandIn(options.key), options.port) as url:
        print(f"Dify's inner API at {url}, key {options.key}", flush=True)  # noqa: T201 - a program for people
        threading.Event().wait()


if __name__ == "__main__":
    main()
