"""A stand-in for a Dify daemon with `PLATFORM=serverless`: how it installs plugins and calls them.

It does what the daemon's Go code does, line by line: langgenius/dify-plugin-daemon bdb5642a, `serverless_connector`,
`serverless_runtime/io.go`, `pkg/utils/http_requests`, `io_tunnel/endpoint_service.go`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests import plain_http

__all__ = ["ConnectorError", "DaemonClient", "Installed", "PluginError", "Served", "go_request"]

LAUNCH_TIME_S: Final = 240
MAX_REQUEST_BYTES: Final = 5 * 1024**2
MAX_LINE: Final = 5 * 1024**2
RETRIES: Final = 3
TYPES: Final = {"invoke_endpoint": "endpoint", "invoke_tool": "tool", "invoke_llm": "model"}
MAX_URL: Final = 255
MAX_NAME: Final = 127


class ConnectorError(Exception):
    """The connector did not do what the daemon expects."""


class PluginError(Exception):
    """What the daemon makes of an error of a plugin's runtime."""

    def __init__(self, error_type: str, message: str, args: Any) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.arguments = args


@dataclass(slots=True)
class Installed:
    """A row of the daemon's table of runtimes, and what was shown meanwhile."""

    url: str
    name: str
    events: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Served:
    """What the daemon has answered a client with."""

    status: int = 100
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    error: PluginError | None = None
    """Whose text is behind the body then."""

    @property
    def body(self) -> bytes:
        """All pieces."""
        return b"".join(self.pieces)


class DaemonClient:
    """A daemon.

    Args:
        url: `DIFY_PLUGIN_SERVERLESS_CONNECTOR_URL`.
        key: `DIFY_PLUGIN_SERVERLESS_CONNECTOR_API_KEY`.

    Attributes:
        attempts: HTTP requests that were made for the last call.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = {"Authorization": key}
        self._client = plain_http.client(headers={"User-Agent": "Go-http-client/1.1"})
        self.attempts = 0

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def ping(self) -> None:
        """Greet the connector, as each start does; the daemon panics when that fails."""
        answer = self._client.post(f"{self._url}/ping", headers=self._key)
        found = json.loads(answer.content)  # whatever the status
        if found != "pong":
            raise ConnectorError(f"unexpected response from serverless connector: {found}")

    def fetch(self, filename: str) -> Installed | None:
        """Ask whether a package was launched."""
        answer = self._client.get(f"{self._url}/v1/runner/instances", params={"filename": filename}, headers=self._key)
        found = {name.lower(): value for name, value in json.loads(answer.content).items()}
        if found.get("error"):
            raise ConnectorError(f"unexpected response from plugin controller: {found['error']}")
        items = found.get("items") or []
        return Installed(items[0]["Endpoint"], items[0]["Name"]) if items else None

    def install(self, package: bytes, identifier: str, *, again: bool = False) -> Installed:
        """Launch a package, unless it was.

        Args:
            package: Its bytes.
            identifier: `author/name:version@checksum`.
            again: Whether to launch it in any case.
        """
        plugin_id, _, rest = identifier.partition(":")
        version, _, checksum = rest.partition("@")
        author, _, name = plugin_id.partition("/")
        filename = f"{author}@{name}@{version}@{checksum}.difypkg"
        found = None if again else self.fetch(filename)
        return found or self._setup(package, filename, identifier)

    def _setup(self, package: bytes, filename: str, identifier: str) -> Installed:
        url, name, events = "", "", []
        for kind, message in self._launch_events(package, filename, identifier):
            events.append(kind if kind != "info" else message)
            if kind == "error":
                raise ConnectorError(message)
            if kind == "function":
                name = message
            elif kind == "function_url":
                url = message
            elif kind == "done":
                if not url or not name:
                    raise ConnectorError("function url or name is empty")
                if len(url) > MAX_URL or len(name) > MAX_NAME:
                    raise ConnectorError("value too long for type character varying")
                return Installed(url, name, events)
        raise ConnectorError("the stream ended without done")

    def _launch_events(self, package: bytes, filename: str, identifier: str) -> Iterator[tuple[str, str]]:
        boundary = uuid.uuid4().hex * 2
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="context"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode(),
            package,
        ]
        fields = {"verified": "false", "metadata": json.dumps({"plugin_unique_identifier": identifier})}
        for name, value in fields.items():
            parts.append(f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
        parts.append(f"\r\n--{boundary}--\r\n".encode())
        headers = {**self._key, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        deadline = time.monotonic() + LAUNCH_TIME_S
        request = self._client.build_request(  # of unknown length, so in chunks
            "POST", f"{self._url}/v1/launch", headers=headers, content=iter(parts)
        )
        answer = self._client.send(request, stream=True)
        try:
            if answer.status_code != httpx.codes.OK:
                text = answer.read().decode()
                raise ConnectorError(f"request failed with status code: {answer.status_code} and respond with: {text}")
            for line in _lines(answer):
                if time.monotonic() > deadline:
                    raise ConnectorError("read on closed response body")
                yield from _launch_event(line)
        finally:
            answer.close()

    def call(
        self,
        url: str,
        raw: bytes,
        settings: dict[str, Any] | None = None,
        *,
        session_id: str = "",
        action: str = "invoke_endpoint",
        on_piece: Callable[[bytes], None] = lambda _: None,
    ) -> Served:
        """Call an endpoint, and answer whoever asked.

        Args:
            url: Of the function.
            raw: The request, as Go writes it.
            settings: Of the plugin.
            session_id: Made up unless given.
            action: What is asked for.
            on_piece: Takes each piece of the body when it comes; it may raise to have the daemon go away.

        Raises:
            PluginError: Before there was a part of the body.
        """
        served = Served()
        began = False
        try:
            for message in self._messages(url, raw, settings or {}, session_id or str(uuid.uuid4()), action):
                served.status = message.get("status") or served.status
                served.headers |= message.get("headers") or {}
                if began or message.get("result") is not None:
                    began = True
                    piece = bytes.fromhex(message["result"])  # a nil pointer in Go, were there none
                    served.pieces.append(piece)
                    on_piece(piece)
        except PluginError as error:
            if not began:
                raise
            served.error = error
        return served

    def read_lines(self, url: str, raw: bytes) -> bytes:
        """Call an endpoint, and return all lines as they came."""
        body = _call_body(raw, {}, "session-of-lines", "invoke_endpoint")
        answer = self._post_with_retry(f"{url}/invoke?action=invoke_endpoint", "session-of-lines", body)
        try:
            return answer.read()
        finally:
            answer.close()

    def _messages(
        self, url: str, raw: bytes, settings: dict[str, Any], session_id: str, action: str
    ) -> Iterator[dict[str, Any]]:
        body = _call_body(raw, settings, session_id, action)
        if len(body) > MAX_REQUEST_BYTES:
            raise PluginError("ServerlessPayloadTooLarge", f"payload_bytes={len(body)}", None)
        answer = self._post_with_retry(f"{url}/invoke?action={action}", session_id, body)
        try:
            yield from _session_messages(answer)
        finally:
            answer.close()

    def _post_with_retry(self, url: str, session_id: str, body: bytes) -> httpx.Response:
        """Send a call: again after 502 and broken connections, and after nothing else."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Dify-Plugin-Session-ID": session_id,
        }
        failure = ""
        for attempt in range(RETRIES):
            if attempt:
                time.sleep(0.5 * 2 ** (attempt - 1))
            self.attempts = attempt + 1
            request = self._client.build_request("POST", url, headers=headers, content=iter([body]))
            try:
                answer = self._client.send(request, stream=True)
            except httpx.TransportError as error:
                failure = str(error)
                continue
            if answer.status_code != httpx.codes.BAD_GATEWAY:
                return answer
            answer.close()
            failure = "failed with status code: 502"
        text = f"Error sending request to serverless: all {RETRIES} attempts failed, last error: {failure}"
        raise PluginError("PluginDaemonInnerError", text, None)


def _call_body(raw: bytes, settings: dict[str, Any], session_id: str, action: str) -> bytes:
    """Write a call as `Session.Message` does."""
    data = {
        "user_id": "",
        "type": TYPES[action],
        "action": action,
        "raw_http_request": raw.hex(),
        "settings": settings,
    }
    ids = {"conversation_id": None, "message_id": None, "app_id": None, "endpoint_id": str(uuid.uuid4())}
    return json.dumps({"session_id": session_id, **ids, "context": None, "event": "request", "data": data}).encode()


def _session_messages(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Read the lines of a function; the `data` of each `stream`."""
    if not answer.is_success:
        _raise_runtime_error(answer, answer.read()[:4096], f"{answer.status_code} {answer.reason_phrase}")
    has_session_event = False
    try:
        for line in _lines(answer):
            if not line:
                continue
            message = _session_message(answer, line)
            if message is None:
                continue
            has_session_event = True
            if message["type"] == "end":
                return
            yield message["data"]
    except (httpx.TransportError, json.JSONDecodeError) as error:
        raise PluginError("PluginDaemonInnerError", f"failed to read response body: {error}", None) from error
    if not has_session_event:
        _raise_runtime_error(answer, b"", "no valid session response")


def _session_message(answer: httpx.Response, line: bytes) -> dict[str, Any] | None:
    """Read a line; None for one that is not of the session."""
    document: dict[str, Any] = json.loads(line)
    if document.get("errorType"):
        _raise_runtime_error(answer, line, "Lambda runtime error")
    if document["event"] == "error":
        raise PluginError("PluginDaemonInnerError", f"encountered an error: {document['data']}", None)
    if document["event"] != "session":
        return None
    message: dict[str, Any] = document["data"]
    if message["type"] == "error":
        data = message["data"]
        raise PluginError(data["error_type"], data["message"], data["args"])
    if message["type"] == "invoke":
        raise PluginError("serverless_event_not_supported", "by full duplex", None)
    return message


def _raise_runtime_error(answer: httpx.Response, body: bytes, fallback: str) -> None:
    try:
        details = json.loads(body)
    except json.JSONDecodeError:
        details = {}
    kind = details.get("errorType") or fallback
    text = details.get("errorMessage")
    message = f"Plugin runtime request failed: {kind}" + (f": {text}" if text else "")
    raise PluginError("PluginRuntimeError", message, {"status_code": answer.status_code})


def _lines(answer: httpx.Response) -> Iterator[bytes]:
    """Split a body into lines as `bufio.Scanner` does, as soon as they are there."""
    buffer = b""
    for piece in answer.iter_raw():
        buffer += piece
        *lines, buffer = buffer.split(b"\n")
        yield from (line.removesuffix(b"\r") for line in lines)
        if len(buffer) > MAX_LINE:
            raise PluginError("PluginDaemonInnerError", "bufio.Scanner: token too long", None)
    if buffer:
        yield buffer


def _launch_event(line: bytes) -> Iterator[tuple[str, str]]:
    """What a line of a launch means to the daemon."""
    line = line.removeprefix(b"data:")
    if not line.strip() or line.startswith(b"event:"):
        return
    try:
        chunk = json.loads(line)
    except json.JSONDecodeError:
        return
    stage, state, message = chunk["Stage"], chunk["State"], chunk["Message"]
    if state == "failed":
        yield "error", message
    elif stage in {"start", "build"}:
        yield "info", "Building plugin..."
    elif stage == "run" and state == "success":
        values: dict[str, str] = {}
        for pair in message.split(","):
            parts = pair.split("=")
            if len(parts) != 2:
                yield "error", f"invalid key-value pair: {pair}"
                return
            values[parts[0].strip()] = parts[1].strip()
        yield "function", values.get("name", "")
        yield "function_url", values.get("endpoint", "")
    elif stage == "run":
        yield "info", "Launching plugin..."
    elif stage == "end":
        yield "done", "Plugin launched"


def go_request(
    method: str, path: str, body: bytes | None = None, *headers: tuple[str, str], host: str = "dify.example.org"
) -> bytes:
    """Write a request as the daemon does: Go's `Request.Write`, an empty body of a POST as one empty chunk."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: curl/8.5.0"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    elif method in {"POST", "PUT"}:
        lines.append("Transfer-Encoding: chunked")
        body = b"0\r\n\r\n"
    ours = (("Dify-Hook-Id", "abcdefghijklmnop"), ("Dify-Hook-Url", f"http://{host}/e/abcdefghijklmnop{path}"))
    lines += [f"{name}: {value}" for name, value in sorted((*headers, *ours))]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
