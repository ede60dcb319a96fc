"""The reference: the plugin's own SDK as its serverless server, asked as Dify's daemon asks it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from tests.compat.answers import Answer, Call
from tests.compat.samples import Request
from tests.stand_ins.daemon import DaemonStandIn
from tests.stand_ins.server import running

__all__ = ["HOOK_ID", "Reference", "running_reference"]

HOOK_ID: Final = "compat0000000000"
SESSION: Final = "00000000-0000-4000-8000-000000000001"
HOST: Final = "127.0.0.1:8080"
START_TIME_S: Final = 120
ANSWER_TIME_S: Final = 60


class Reference:
    """The SDK's server with one plugin.

    Args:
        url: Where it listens.
        settings: Of the hook.
        daemon: What it believes to be Dify's daemon.
    """

    def __init__(self, url: str, settings: dict[str, Any], daemon: DaemonStandIn) -> None:
        self._url = url
        self._settings = settings
        self._daemon = daemon

    def ask(self, request: Request) -> Answer:
        """Send a request, as the daemon does for a client."""
        answer = Answer()
        self._daemon.calls.clear()
        began = time.monotonic()
        with httpx.stream(
            "POST", f"{self._url}/invoke", json=self._event(request), timeout=ANSWER_TIME_S, trust_env=False
        ) as response:
            for line in response.iter_lines():
                if line.strip() and not self._take(answer, json.loads(line), time.monotonic() - began):
                    break
                if request.first and answer.body:
                    break
        answer.calls = [Call(call["type"], _asked(call["request"])) for call in self._daemon.calls]
        answer.calls = [call for call in answer.calls if call.kind != "storage"]
        return answer

    def _event(self, request: Request) -> dict[str, Any]:
        ids = dict.fromkeys(("conversation_id", "message_id", "app_id", "context"))
        data = {
            "user_id": "",
            "type": "endpoint",
            "action": "invoke_endpoint",
            "raw_http_request": _raw(request).hex(),
            "settings": self._settings,
        }
        return {"session_id": SESSION, **ids, "endpoint_id": HOOK_ID, "event": "request", "data": data}

    def _take(self, answer: Answer, event: dict[str, Any], at_s: float) -> bool:
        """Take an event of the answer; whether more may come."""
        if event.get("event") != "session":
            return True
        kind, data = event["data"]["type"], event["data"].get("data") or {}
        if kind == "stream":
            if "status" in data:
                answer.status = data["status"]
                answer.headers = {name.lower(): value for name, value in data["headers"].items()}
            if data.get("result"):
                answer.body += bytes.fromhex(data["result"])
                answer.times.append(at_s)
        elif kind == "error":
            answer.status = answer.status or 500
            answer.problem = "" if answer.body else f"error event: {data.get('message', data)}"[:300]
            return False
        return bool(kind != "end")


@contextlib.contextmanager
def running_reference(plugin: Path, environment: Path, settings: dict[str, Any]) -> Iterator[Reference]:
    """Run the SDK's server.

    Args:
        plugin: A folder of its own: plugins may write there.
        environment: That of the plugin, as it was built for our service.
        settings: Of the hook.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    daemon = DaemonStandIn(SESSION)
    with running(daemon) as daemon_url, (plugin / "sdk.log").open("wb") as log:
        process = subprocess.Popen(
            [environment / "bin" / "python", "-m", "main"],
            cwd=plugin,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(environment, port, daemon_url),
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(url, process, plugin / "sdk.log")
            yield Reference(url, settings, daemon)
        finally:
            process.kill()
            process.wait()


def _environment(environment: Path, port: str, daemon_url: str) -> dict[str, str]:
    """The environment variables of the server; older versions of the SDK name the same things after AWS Lambda."""
    (config,) = environment.glob("lib/python3.*/site-packages/dify_plugin/config/config.py")
    method = "aws_lambda" if "aws_lambda" in config.read_text(encoding="utf-8") else "serverless"
    prefix = method.upper()
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "INSTALL_METHOD": method,
        f"{prefix}_HOST": "127.0.0.1",
        f"{prefix}_PORT": port,
        "DIFY_PLUGIN_DAEMON_URL": daemon_url,
    }


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIME_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=5).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the SDK's server did not start: {log.read_text(errors='replace')[-20_000:]}")


def _raw(request: Request) -> bytes:
    """Write a request as Go's `http.Request.Write` does."""
    headers = {**request.headers, "Dify-Hook-Id": HOOK_ID}
    agent = headers.pop("User-Agent")
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {HOST}", f"User-Agent: {agent}"]
    if request.body or request.method == "POST":
        lines.append(f"Content-Length: {len(request.body)}")
    lines += [f"{name}: {headers[name]}" for name in sorted(headers)]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def _asked(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in {"tenant_id", "user_id", "type"}}
