"""`worker.after_response`: the client has its answer, and what the endpoint has started goes on for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.e2e.test_environments import NEW, OLD, PYTHON
from tests.environments import build_environment, find_pythons

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PATIENT = Path(__file__).parent.parent / "plugins" / "patient"
CALLER = PATIENT.parent / "caller"


def config(**worker: Any) -> dict[str, Any]:
    """A configuration with the plugin."""
    return {
        "plugins": [{"path": str(PATIENT)}],
        "reverse": {"target": "fixtures", "fixtures": str(CALLER / "fixtures.yaml")},
        "worker": worker,
    }


def do(executor: Executor, name: str, hook: str = "patient", **given: Any) -> str:
    """Call an endpoint; the id of the invocation."""
    answer = plain_http.post(f"{executor.url}/e/{hook}/do/{name}", json=given)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-invocation-id"]


def ended(executor: Executor, invocation_id: str) -> tuple[str, str, str]:
    """How an invocation ended: the outcome, what ended the time after the answer, and the end of its worker."""
    figures = executor.invocation(invocation_id)
    return figures["outcome"], figures["after_end"], figures["exit"]


@pytest.fixture(scope="module")
def patient() -> Iterator[Executor]:
    """A service whose workers may go on for a while."""
    limits = {"cpu_time": "1s", "memory": "128 MiB", "scratch_size": "16 MiB", "wall_time": "30s", "log_output": "1 kB"}
    hooks = {
        "patient": {},
        "short": {"plugin": "patient", "worker": {"after_response": "300ms"}},
        "none": {"plugin": "patient", "worker": {"after_response": 0}},
        "hasty": {"plugin": "patient", "limits": {"wall_time": "6s"}},
        "strict": {"plugin": "patient", "limits": limits},
        "one": {"plugin": "patient", "limits": {"concurrency": 1}},
    }
    with Executor(config={**config(after_response="20s"), "hooks": hooks}) as executor:
        yield executor
        executor.resting_processes()
        assert executor.own_failures() == []


@pytest.mark.parametrize("daemon", [True, False])
def test_threads_finish(patient: Executor, daemon: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """What they print belongs to their invocation, and the figures tell how long they took, apart from the answer."""
    one = do(patient, "later", seconds=0.5, text=f"late {daemon}", daemon=daemon)
    line = patient.wait_event("endpoint.output", message=f"late {daemon}")
    assert line["invocation_id"] == one
    figures = patient.invocation(one)
    assert (figures["outcome"], figures["after_end"], figures["exit"]) == ("ok", "finished", "exit 0")
    assert figures["after_s"] > 0.4


def test_threads_of_threads_and_calls(patient: Executor) -> None:
    """What a thread starts is waited for, and reverse calls can be made."""
    do(patient, "chain", text="the last link")
    patient.wait_event("endpoint.output", message="the last link")
    do(patient, "call", text="after all")
    patient.wait_event("endpoint.output", message="you said: after all")


def test_the_connection_goes_on(patient: Executor) -> None:
    """The next request of the same connection is answered while the worker of the first one goes on."""
    with plain_http.client(base_url=patient.url) as client:
        first = client.post("/e/patient/do/later", json={"seconds": 600, "text": "never", "daemon": True})
        patient.wait_workers(1, state="finishing")
        second = client.post("/e/patient/do/nothing", json={})
        assert second.status_code == 200
        invocation_id = first.headers["x-invocation-id"]
        assert invocation_id in {worker["invocation_id"] for worker in patient.workers()}


def test_the_time_is_bounded(patient: Executor) -> None:
    """By the setting of the hook; without, nothing goes on and there is no such figure."""
    assert ended(patient, do(patient, "later", "short", seconds=600, text="x", daemon=False)) == (
        "ok",
        "time",
        "exit 75",
    )
    figures = patient.invocation(do(patient, "later", "none", seconds=600, text="x", daemon=False))
    assert (figures["after_s"], figures["after_end"], figures["exit"]) == (None, None, "exit 0")
    patient.wait_metric('executor_invocation_after_response_seconds_count{end="time",hook="short"}', 1)


def test_limits_hold(patient: Executor) -> None:
    """All of them; the answer was whole, so the outcome says that, and what came after is told apart."""
    one = do(patient, "later", "hasty", seconds=600, text="x", daemon=False)
    assert ended(patient, do(patient, "burn", "strict"))[:2] == ("ok", "timeout.cpu")
    assert ended(patient, do(patient, "eat", "strict"))[:2] == ("ok", "limit.memory")
    assert ended(patient, do(patient, "flood", "strict"))[:2] == ("ok", "limit.log_output")
    assert ended(patient, one) == ("ok", "timeout.wall", "signal 9 (SIGKILL)")


def test_the_place_is_kept(patient: Executor) -> None:
    """With `concurrency: 1` the next request waits until what the first one has started is done."""
    first = do(patient, "later", "one", seconds=1, text="done first", daemon=True)
    second = do(patient, "nothing", "one")
    one, other = (patient.invocation(each) for each in (first, second))
    assert other["started_at"] + other["queue_s"] >= one["started_at"] + one["duration_s"] + one["after_s"] - 0.1


def test_children_end_with_the_worker(patient: Executor) -> None:
    """Processes are not waited for: what a worker leaves is killed with it."""
    one = do(patient, "fork", seconds=600)
    assert ended(patient, one) == ("ok", "finished", "exit 0")


def test_shutdown_ends_what_goes_on() -> None:
    """The service waits for it as for any other invocation, then ends it."""
    with Executor(config={**config(after_response="1m"), "drain": {"grace_time": "500ms"}}) as executor:
        one = do(executor, "later", seconds=600, text="never", daemon=False)
        executor.wait_workers(1, state="finishing")
        executor.stop()
        assert ended(executor, one) == ("ok", "shutdown", "signal 9 (SIGKILL)")


@pytest.mark.parametrize("version", [OLD, NEW])
def test_greenlets_of_the_real_sdk(version: str) -> None:
    """With it threads are greenlets; those that were spawned are waited for as well, those that are stuck are not."""
    environment = build_environment(f"dify_plugin=={version}", "msgpack==1.0.8", python=find_pythons()[PYTHON])
    settings = config(after_response="1m")
    settings["plugins"] = [{"path": str(PATIENT), "environment": str(environment)}]
    with Executor(config=settings) as executor:
        do(executor, "later", seconds=0.3, text="a thread", daemon=True)
        executor.wait_event("endpoint.output", message="a thread")
        do(executor, "spawn", seconds=0.3, text="a greenlet")
        executor.wait_event("endpoint.output", message="a greenlet")
        do(executor, "call", text="green")
        executor.wait_event("endpoint.output", message="you said: green")
        assert ended(executor, do(executor, "stuck")) == ("ok", "finished", "exit 0")
        assert executor.own_failures() == []
