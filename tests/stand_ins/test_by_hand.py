"""The stand-ins can be run by hand, and other programs can see what was asked of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import plain_http
from tests.stand_ins.dify import frame
from tests.stand_ins.dify_answers import ANSWERS

ROOT = Path(__file__).parents[2]
CHAT: dict[str, Any] = {"app_id": "chat", "inputs": {}, "query": "hi", "response_mode": "blocking"}


@contextmanager
def program(name: str, *arguments: str) -> Iterator[str]:
    """Run a stand-in, and give its URL, which it prints."""
    command = [sys.executable, "-m", f"tests.stand_ins.{name}", "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            yield next(word.rstrip(",").removesuffix("/v1") for word in line.split() if word.startswith("http"))
        finally:
            process.terminate()


def test_dify() -> None:
    """Its answers, what it was asked, and a fault that is set from outside."""
    request = {"tenant_id": "t", "user_id": "", **CHAT}
    with program("dify", "--key", "k") as url:
        headers = {"X-Inner-Api-Key": "k"}
        path = f"{url}/inner/api/invoke/app"
        assert plain_http.post(path, json=request).status_code == 404
        answer = plain_http.post(path, json=request, headers=headers)
        assert answer.content == frame({"data": ANSWERS["invoke/app"](request)[0], "error": ""})
        assert plain_http.get(f"{url}/calls").json()["calls"] == [{"path": "invoke/app", "request": request}]
        plain_http.request("PUT", f"{url}/fault", json={"fault": "html"})
        assert plain_http.post(path, json=request, headers=headers).status_code == 502
        assert plain_http.request("DELETE", f"{url}/calls").json() == {"calls": [], "uploads": []}


def test_a_daemon() -> None:
    """Any session is one of its own."""
    invoke = {"type": "app", "backwards_request_id": "1" * 32, "request": CHAT}
    event = {"event": "session", "session_id": "s", "data": {"type": "invoke", "data": invoke}}
    with program("daemon") as url:
        answer = plain_http.post(
            f"{url}/backwards-invocation/transaction", json=event, headers={"Dify-Plugin-Session-ID": "s"}
        )
        lines = [json.loads(line)["data"] for line in answer.text.splitlines() if line]
        assert [line["event"] for line in lines] == ["response", "end"]
        assert lines[0]["data"]["answer"] == "You said: hi"
        (call,) = plain_http.get(f"{url}/calls").json()["calls"]
        assert call == {"type": "app", "request": CHAT, "session_id": "s"}


@pytest.mark.parametrize("key", ["k", ""])
def test_a_server_of_models(key: str) -> None:
    """With a key, or without."""
    request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with program("openai", "--key", key) as url:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = plain_http.post(f"{url}/v1/chat/completions", json=request, headers=headers)
        assert answer.json()["choices"][0]["message"]["content"] == "You said: hi"
