"""A stand-in for a Dify daemon with `PLATFORM=serverless`: where functions send their reverse calls to.

What it asks Dify for, it answers as the stand-in for Dify does; `storage` it answers itself. By hand it knows every
session, lists with `GET /calls` what was asked and uploaded, and forgets it with `DELETE /calls`:

```text
python -m tests.stand_ins.daemon --port 5002
```
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import zlib
from typing import Any, Final

from executor.reverse.targets.kinds import KINDS
from tests.stand_ins.dify import UPLOAD, DifyStandIn
from tests.stand_ins.dify_answers import ANSWERS, STREAMS, RefusedError
from tests.stand_ins.faults import FAULTS, answer_wrongly
from tests.stand_ins.server import CutError, Exchange, running

__all__ = ["LINE_FAULTS", "DaemonStandIn"]

PATH: Final = "/backwards-invocation/transaction"
MAX_REQUEST: Final = 6 * 1024**2
LINE_FAULTS: Final = (
    "bytewise",
    "cut_line",
    "error",
    "huge_line",
    "no_end",
    "not_json",
    "other_call",
    "other_event",
    "stalls",
)


class DaemonStandIn:
    """A Dify daemon, as seen by functions.

    Attributes:
        sessions: Ids of sessions that it knows.
        knows_all: Whether it knows all others as well.
        calls: What was asked, in order: `type`, `request`, `session_id`, `headers`.
        asked: Set when something was asked.
        left: Set when a client has gone before its answer was complete.
        storage: The plugin's storage.
        fault: How it answers wrongly; empty for right answers.
        upload_url: Where it has files uploaded to; to itself unless it is set.
        files: Takes them then.
        zips: Whether it compresses what it answers to those who take it.
    """

    def __init__(self, *sessions: str) -> None:
        self.sessions = set(sessions)
        self.knows_all = False
        self.calls: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.left = threading.Event()
        self.storage: dict[str, bytes] = {}
        self.fault = ""
        self.upload_url = ""
        self.files = DifyStandIn()
        self.zips = True

    async def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        if exchange.path == "/calls":
            await self._list(exchange)
            return
        if (exchange.method, exchange.path) == ("POST", UPLOAD):
            await self.files.take_upload(exchange)
            return
        if (exchange.method, exchange.path) != ("POST", PATH):
            await exchange.answer_json({"code": "not_found", "message": "route not found"}, 404)
            return
        event = json.loads(exchange.body[:MAX_REQUEST])
        assert (event["event"], event["data"]["type"]) == ("session", "invoke")
        call = event["data"]["data"]
        session = event["session_id"]
        assert session == exchange.headers["dify-plugin-session-id"]
        if session not in self.sessions and not self.knows_all:
            await self._refuse(exchange, call["backwards_request_id"], session)
            return
        self.calls.append({**call, "session_id": session, "headers": exchange.headers})
        self.asked.set()
        if self.fault in FAULTS:
            try:
                await answer_wrongly(exchange, self.fault)
            finally:
                self.left.set()
        else:
            await self._answer(exchange, call, session)

    async def _refuse(self, exchange: Exchange, number: str, session: str) -> None:
        data = {"error_type": "SessionNotFound", "detail": "key not found", "session_id": session}
        message = "failed to get session info from cache"
        document = {"backwards_request_id": number, "event": "error", "message": message, "data": data}
        await exchange.answer_json(document, 400)

    async def _answer(self, exchange: Exchange, call: dict[str, Any], session: str) -> None:
        """Send events, flushed one by one, and blank lines that keep the connection alive."""
        zips = self.zips and "gzip" in exchange.headers.get("accept-encoding", "")
        packer = zlib.compressobj(wbits=31) if zips else None
        await exchange.start(
            200, {"content-type": "text/event-stream", **({"content-encoding": "gzip"} if zips else {})}
        )

        async def send(data: bytes) -> None:
            packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) if packer else data
            for start in range(0, len(packed), size := 1 if self.fault == "bytewise" else len(packed)):
                await exchange.send(packed[start : start + size])
                await asyncio.sleep(0)

        await send(b"\n\n")
        for line in self._lines(exchange, call, session):
            await send(line)
            if self.fault == "stalls":
                await exchange.wait_for_disconnect()
                self.left.set()
                return
            if self.fault == "cut_line":
                await send(line[:-5])
                raise CutError
        if packer:
            await exchange.send(packer.flush())
        await exchange.end()

    def _lines(self, exchange: Exchange, call: dict[str, Any], session: str) -> list[bytes]:
        def line(event: str, data: object = None, message: str = "", **changes: object) -> bytes:
            number = call["backwards_request_id"]
            answer = {"backwards_request_id": number, "event": event, "message": message, "data": data, **changes}
            ids = {"conversation_id": None, "message_id": None, "app_id": None, "endpoint_id": None, "context": None}
            document = {"session_id": session, **ids, "event": "backwards_response", "data": answer}
            return json.dumps(document).encode() + b"\n\n"

        end = line("end")
        try:
            data = self._data(exchange, call["type"], call["request"])
        except RefusedError as error:
            return [line("error", message=str(error)), end]
        streams = call["type"] != "storage" and KINDS[call["type"]].path in STREAMS
        lines = [line("response", part, "stream") for part in data] if streams else [line("response", data, "struct")]
        wrong = {
            "error": [lines[0], line("error", message="read llm model failed: request failed: no more tokens"), end],
            "huge_line": [lines[0], b"x" * (3 * 1024**2)],
            "no_end": lines,
            "not_json": [lines[0], b"<html>\n"],
            "other_call": [line("response", {}, backwards_request_id="0" * 32), end],
            "other_event": [json.dumps({"session_id": session, "event": "request", "data": {}}).encode() + b"\n"],
        }
        return wrong.get(self.fault, [*lines, end])

    def _data(self, exchange: Exchange, kind: str, request: dict[str, Any]) -> Any:
        if kind == "storage":
            return self._store(request)
        if kind == "upload_file":
            assert set(request) == {"filename", "mimetype"}
            return {"url": self.upload_url} if self.upload_url else self.files.upload_place(exchange, request)
        data = ANSWERS[KINDS[kind].path](request)
        return data["data"] if kind == "fetch_app" else data

    def _store(self, request: dict[str, Any]) -> dict[str, Any]:
        key = request["key"]
        match request["opt"]:
            case "set":
                self.storage[key] = bytes.fromhex(request["value"])
                return {"data": "ok"}
            case "get" if key in self.storage:
                return {"data": self.storage[key].hex()}
            case "del":
                return {"data": "ok", "deleted_num": 1 if self.storage.pop(key, None) is not None else 0}
            case "exist":
                return {"data": key in self.storage, "exist_num": int(key in self.storage)}
        raise RefusedError("load data failed, please check if the key is correct or you have not set it")

    async def _list(self, exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            self.calls.clear()
            self.files.uploads.clear()
        calls = [{name: call[name] for name in ("type", "request", "session_id")} for call in self.calls]
        uploads = [{**upload, "content": upload["content"].hex()} for upload in self.files.uploads]
        await exchange.answer_json({"calls": calls, "uploads": uploads})


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in for a Dify daemon, for functions.")
    parser.add_argument("--port", type=int, default=5002)
    daemon = DaemonStandIn()
    daemon.knows_all = True
    with running(daemon, parser.parse_args().port) as url:
        print(f"A Dify daemon at {url}", flush=True)  # noqa: T201 - a program for people
        threading.Event().wait()


if __name__ == "__main__":
    main()
