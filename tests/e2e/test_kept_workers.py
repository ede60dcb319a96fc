"""`worker.max_invocations`: what a plugin has in memory is there for later requests of its hook, and of no other."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.e2e.test_after_response import PATIENT, do
from tests.e2e.test_environments import NEW, PYTHON
from tests.environments import build_environment, find_pythons

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STRICT = {"cpu_time": "1s", "memory": "128 MiB", "scratch_size": "16 MiB", "log_output": "1 kB"}
SINGLE = {"plugin": "patient", "limits": {"concurrency": 1}}
HOOKS: dict[str, Any] = {
    **dict.fromkeys(("patient", "other", "figures", "failing", "renewed"), SINGLE),
    **{name: {"plugin": "patient", "limits": STRICT} for name in ("burn", "eat", "flood")},
    "single": {"plugin": "patient", "worker": {"max_invocations": 1}},
    "short": {"plugin": "patient", "worker": {"idle_time": "1s"}},
}
"""Each test has hooks of its own."""


def config(plugin: Path = PATIENT) -> dict[str, Any]:
    """A configuration whose workers answer three requests."""
    return {"plugins": [{"path": str(plugin)}], "hooks": HOOKS, "worker": {"max_invocations": 3, "idle_time": "10m"}}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the plugin, for files that tell workers to begin."""
    return shutil.copytree(PATIENT, tmp_path_factory.mktemp("kept") / "patient")


@pytest.fixture(scope="module")
def executor(plugin: Path) -> Iterator[Executor]:
    """A service; nothing of ours may fail."""
    with Executor(config=config(plugin)) as executor:
        yield executor
        assert executor.own_failures() == []


def seen(executor: Executor, text: str, hook: str = "patient") -> tuple[list[str], list[str]]:
    """What is left of earlier requests: in memory, and in files."""
    answer = plain_http.post(f"{executor.url}/e/{hook}/do/state", json={"text": text})
    found = answer.json()
    return found["seen"], found["files"]


def test_state_stays_within_a_hook(executor: Executor) -> None:
    """For so many requests; other hooks have none of it, and those with one invocation none at all."""
    assert seen(executor, "a") == (["a"], ["a"])
    assert seen(executor, "b", "other") == (["b"], ["b"])
    assert seen(executor, "c") == (["a", "c"], ["a", "c"])
    for text in ("d", "e"):
        assert seen(executor, text, "single") == ([text], [text])
    assert seen(executor, "f") == (["a", "c", "f"], ["a", "c", "f"])
    assert seen(executor, "g") == (["g"], ["g"])
    assert seen(executor, "h", "other") == (["b", "h"], ["b", "h"])
    executor.wait_metric('executor_workers_taken_total{hook="patient",origin="reused"}', 2)
    executor.wait_metric('executor_workers_taken_total{hook="single",origin="reused"}', 0)


def test_figures(executor: Executor) -> None:
    """They tell of each invocation by itself."""
    one, other = (executor.invocation(do(executor, "nothing", "figures")) for _ in range(2))
    assert [(each["reused"], each["exit"], each["outcome"]) for each in (one, other)] == [
        (False, "kept", "ok"),
        (True, "kept", "ok"),
    ]
    assert one["pid"] == other["pid"]


@pytest.mark.parametrize("off", [[], ["control_groups"]], ids=["groups", "no groups"])
def test_figures_are_those_of_the_request(off: list[str]) -> None:
    """Whoever counts: not nothing, and not the sum over all requests of the worker, when it ends with the last one."""
    with Executor(config=config() | {"isolation": {"off": off}}) as executor:
        ids = [do(executor, "spin", seconds=seconds) for seconds in (1, 0, 1)]
        seen = [executor.invocation(one) for one in ids]
        assert [(one["reused"], one["exit"]) for one in seen] == [(False, "kept"), (True, "kept"), (True, "exit 0")]
        used = [one["cpu_user_s"] + one["cpu_system_s"] for one in seen]
        assert used[0] > 0.9 > used[1]
        assert 0.9 < used[2] < 1.9
        assert min(one["max_rss_bytes"] for one in seen) > 1 << 20
        assert seen[0]["minor_faults"] > 0
        assert executor.own_failures() == []


def test_a_failure_ends_it(executor: Executor) -> None:
    """What has failed is not used again."""
    seen(executor, "a", "failing")
    assert plain_http.post(f"{executor.url}/e/failing/do/raise", json={}).status_code == 500
    assert seen(executor, "b", "failing") == (["b"], ["b"])


@pytest.mark.parametrize(
    ("deed", "reasons"),
    [("burn", {"timeout.cpu", "misbehaved"}), ("eat", {"limit.memory", "misbehaved"}), ("flood", {"limit.log_output"})],
)
def test_what_misbehaves_while_it_waits_is_ended(
    executor: Executor, plugin: Path, deed: str, reasons: set[str]
) -> None:
    """Nobody gets it, and the next request is answered by another one."""
    one = executor.invocation(do(executor, deed, deed, file=f"begin-{deed}"))
    assert one["exit"] == "kept", one
    (plugin / f"begin-{deed}").touch()
    assert executor.wait_event("kept.ended", pid=one["pid"])["reason"] in reasons
    assert not executor.invocation(do(executor, "nothing", deed))["reused"]


def test_children_end_with_it() -> None:
    """They may stay while it waits, not longer; and it waits for its time only."""
    with Executor(config=config()) as executor:
        one = executor.invocation(do(executor, "fork", "short", seconds=600))
        assert executor.wait_event("kept.ended", pid=one["pid"])["reason"] == "idle"
        executor.wait_metric('executor_slots{state="kept"}', 0)
        executor.resting_processes()
        assert len(executor.named("ee-worker")) == executor.spares()
        assert executor.own_failures() == []


def test_a_reload_ends_it(executor: Executor) -> None:
    """Whatever it changes."""
    seen(executor, "a", "renewed")
    executor.process.send_signal(signal.SIGHUP)
    executor.wait_event("kept.ended", hook_id="renewed", reason="renewed")
    executor.wait_event("service.reloaded")
    executor.wait_metric('executor_slots{state="kept"}', 0)
    assert seen(executor, "b", "renewed") == (["b"], ["b"])
    executor.wait_metric('executor_slots{state="kept"}', 1)


def test_with_the_real_sdk() -> None:
    """State stays, and gevent's loop works in every request."""
    environment = build_environment(f"dify_plugin=={NEW}", "msgpack==1.0.8", python=find_pythons()[PYTHON])
    settings = config()
    settings["plugins"] = [{"path": str(PATIENT), "environment": str(environment)}]
    settings["worker"] |= {"after_response": "20s"}
    with Executor(config=settings) as executor:
        assert seen(executor, "a") == (["a"], ["a"])
        do(executor, "later", seconds=0.2, text="a thread", daemon=True)
        executor.wait_event("endpoint.output", message="a thread")
        assert seen(executor, "b")[0] == ["a", "b"]
        assert executor.own_failures() == []
