"""Our side: the real service with the plugin in its own environment, and a stand-in for Dify's inner API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from executor.reverse.targets.kinds import KINDS
from tests.compat.answers import Answer, Call
from tests.compat.reference import HOOK_ID
from tests.compat.samples import Request
from tests.e2e.harness import Executor
from tests.stand_ins.dify import DifyStandIn
from tests.stand_ins.server import running

__all__ = ["Ours", "running_ours"]

ANSWER_TIME_S: Final = 60
BY_PATH: Final = {kind.path: name for name, kind in KINDS.items()}
ADDED: Final = frozenset({"tenant_id", "user_id", "type"})
"""What the daemon, or in its place our service, adds to a call."""


class Ours:
    """Our service with one plugin.

    Args:
        executor: It.
        dify: What answers reverse calls.
    """

    def __init__(self, executor: Executor, dify: DifyStandIn) -> None:
        self.executor = executor
        self._dify = dify

    @property
    def environment(self) -> Path:
        """The plugin's environment."""
        ready = [event for event in self.executor.events("zygote.ready") if event.get("environment")]
        return Path(ready[0]["environment"])

    def ask(self, request: Request) -> Answer:
        """Send a request."""
        answer = Answer()
        self._dify.calls.clear()
        began = time.monotonic()
        try:
            self._send(request, answer, began)
        except httpx.HTTPError as error:
            answer.problem = f"{type(error).__name__}: {error}"
        calls = [(BY_PATH[call["path"]], call["request"]) for call in self._dify.calls]
        answer.calls = [Call(kind, {k: v for k, v in asked.items() if k not in ADDED}) for kind, asked in calls]
        return answer

    def _send(self, request: Request, answer: Answer, began: float) -> None:
        url = f"{self.executor.url}/e/{HOOK_ID}{request.path}"
        with httpx.stream(
            request.method,
            url,
            headers=request.headers,
            content=request.body,
            timeout=ANSWER_TIME_S,
            trust_env=False,
        ) as response:
            answer.status = response.status_code
            answer.headers = {name.lower(): value for name, value in response.headers.items()}
            for piece in response.iter_raw():
                answer.body += piece
                answer.times.append(time.monotonic() - began)
                if request.first:
                    return


@contextlib.contextmanager
def running_ours(plugin: Path, name: str, settings: dict[str, Any], state_dir: Path) -> Iterator[Ours]:
    """Run our service.

    Args:
        plugin: Its unmodified folder.
        name: In its manifest.
        settings: Of the hook.
        state_dir: Where environments are kept, from one run to the next.
    """
    dify = DifyStandIn()
    with running(dify) as url:
        config = {
            "plugins": [{"path": str(plugin), "environment": "own"}],
            "hooks": {HOOK_ID: {"plugin": name, "settings": settings}},
            "compat": {"routing": "dify"},
            "reverse": {"target": "dify", "dify": {"url": url, "api_key": dify.key}},
        }
        with Executor(config=config, state_dir=state_dir) as executor:
            yield Ours(executor, dify)
