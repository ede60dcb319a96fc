"""Reverse calls with the real service, real workers and the bundled SDK, answered from fixtures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import Executor, until
from tests.e2e.raw_connection import RawConnection

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

CALLER = Path(__file__).parent.parent / "plugins" / "caller"
FIXTURES = CALLER / "fixtures.yaml"
MIB = 2**20


def make_config(**reverse: Any) -> dict[str, Any]:
    """A configuration whose hooks differ in limits."""
    return {
        "plugins": [{"path": str(CALLER)}],
        "hooks": {
            "caller": {},
            "brief": {"plugin": "caller", "limits": {"call_time": "500ms"}},
            "impatient": {"plugin": "caller", "limits": {"first_byte_time": "4s"}},
            "few": {"plugin": "caller", "limits": {"calls": 2}},
            "small": {"plugin": "caller", "limits": {"call_request": "1 MiB", "call_answer": "1 KiB"}},
            "one": {"plugin": "caller", "limits": {"calls_at_once": 1}},
        },
        "log": {"level": "debug"},
        "reverse": {"target": "fixtures", "fixtures": str(FIXTURES), **reverse},
    }


@pytest.fixture(scope="module")
def service() -> Iterator[Executor]:
    """The plugin with fixtures; nothing may be left of its calls."""
    with Executor(config=make_config()) as executor:
        yield executor
        executor.wait_metric("executor_reverse_calls_in_flight", 0)
        assert executor.own_failures() == []


def do(executor: Executor, name: str, *, hook: str = "caller", **given: Any) -> Any:
    """What an endpoint answers."""
    answer = plain_http.post(f"{executor.url}/e/{hook}/do/{name}", json=given)
    assert answer.status_code == 200, (answer.text, executor.log_text()[-2000:])
    return answer.json()


def send(connection: RawConnection, name: str, **given: Any) -> None:
    """Ask an endpoint for an answer that nobody waits for."""
    body = json.dumps(given)
    head = f"POST /e/caller/do/{name} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    connection.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


def test_a_stream_becomes_a_stream(service: Executor) -> None:
    """Each event arrives as an item of its own."""
    answer = plain_http.post(f"{service.url}/e/caller/do/stream", json={"query": "miau"})
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["event"] for event in events] == ["message"] * 3 + ["message_end"]
    assert "".join(event.get("answer", "") for event in events) == "you said: miau"


def test_kinds(service: Executor) -> None:
    """Contents of files go as bytes, streams of sound come as bytes."""
    assert do(service, "kinds") == {
        "llm": "hello there",
        "embedding": [[0.5, 1.5]],
        "tts": b"abc".hex(),
        "speech": 'I heard "600000 bytes"',
        "tool": ['found {"q": 1}'],
    }


def test_errors_name_their_cause_and_the_request(service: Executor) -> None:
    """The text of the target, with the invocation's id; and the request goes on."""
    assert "the app a is tired (invocation " in do(service, "tell", query="broken")["error"]
    denied = do(service, "denied")["error"]
    assert denied == "permission denied, you need to enable node access in plugin manifest"


def test_an_error_within_a_stream_cuts_the_answer(service: Executor) -> None:
    """What was streamed before has been sent; the client can tell that it is not all."""
    with (
        plain_http.stream("POST", f"{service.url}/e/caller/do/stream", json={"query": "half"}) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        answer.read()


def test_calls_within_a_stream_that_is_not_read_to_its_end(service: Executor) -> None:
    """An answer that waits holds up no other one."""
    count, events = do(service, "within", count=4)
    assert count == 4
    assert events == 11


def test_a_stream_that_is_left(service: Executor) -> None:
    """Its call ends at once, and others can be made."""
    first, _exists = do(service, "leave", query="long")
    assert first["answer"] == "one"
    service.wait_metric("executor_reverse_calls_in_flight", 0)


def test_threads(service: Executor) -> None:
    """Calls go on side by side, each with its own answer."""
    assert do(service, "threads", count=12) == [f"slow {number}" for number in range(12)]
    with service.raw() as connection:
        send(connection, "threads", count=12, query="never")
        service.wait_metric("executor_reverse_calls_in_flight", 12)
    service.wait_metric("executor_reverse_calls_in_flight", 0)


def test_no_more_at_once_than_allowed(service: Executor) -> None:
    """More of them wait; all are answered."""
    assert do(service, "threads", hook="one", count=3) == ["slow 0", "slow 1", "slow 2"]


def test_a_body_that_nobody_reads_is_not_in_the_way(service: Executor) -> None:
    """Windows of calls are their own."""
    data = bytes(3 * MIB)
    answer = plain_http.post(f"{service.url}/e/caller/do/unread", content=data)
    assert answer.json() == ["you said: hi", len(data)]


def test_uploads(service: Executor) -> None:
    """Megabytes go through in pieces."""
    data = b"\x89PNG" * (2 * MIB)
    answer = plain_http.post(f"{service.url}/e/caller/do/upload", content=data)
    _identifier, size, kind = answer.json()
    assert (size, kind) == (len(data), "image")


def test_requests_and_answers_are_bounded(service: Executor) -> None:
    """What is over a limit fails with the name of the limit, and the worker goes on."""
    answer = plain_http.post(f"{service.url}/e/small/do/upload", content=bytes(2 * MIB))
    assert answer.status_code == 500
    figures = service.invocation(answer.headers["x-invocation-id"])
    assert "at most 1048576 (limits.call_request)" in figures["detail"]
    error = do(service, "tell", hook="small", query="x" * 2000)["error"]
    assert "at most 1024 (limits.call_answer)" in error


def test_the_number_of_calls_is_bounded(service: Executor) -> None:
    """The next one fails, with the name of the limit."""
    answer = plain_http.post(f"{service.url}/e/few/do/within", json={})
    assert answer.status_code == 500
    detail = service.invocation(answer.headers["x-invocation-id"])["detail"]
    assert "3 reverse calls in one request, at most 2 (limits.calls)" in detail


def test_the_time_of_a_call_is_bounded(service: Executor) -> None:
    """It fails; the request need not."""
    error = do(service, "tell", hook="brief", query="never")["error"]
    assert "app: the call took longer than 0.5 s (limits.call_time)" in error


def test_clocks_of_the_endpoint_rest_while_others_are_waited_for(service: Executor) -> None:
    """An answer may take longer than the endpoint itself may."""
    assert do(service, "blocking", hook="impatient", query="late x")["answer"] == "late x"


def test_a_client_that_leaves_ends_the_call(service: Executor) -> None:
    """At once: nobody waits ten minutes for an answer to nobody."""
    with service.raw() as connection:
        send(connection, "hang")
        service.wait_metric("executor_reverse_calls_in_flight", 1)
    gone = service.wait_event("invocation", outcome="client.gone", rule="/do/<name>")
    service.wait_metric("executor_reverse_calls_in_flight", 0)
    service.wait_event("reverse.call", invocation_id=gone["invocation_id"], kind="app", outcome="cancelled")


def test_values_are_kept(service: Executor) -> None:
    """For the next request, for other hooks, also when the answer is over; up to the quota."""
    assert do(service, "kept", key="new")["error"] == (
        "load data failed, please check if the key is correct or you have not set it"
    )
    assert do(service, "keep", key="new", size=5 * MIB) is True
    assert do(service, "kept", hook="one", key="new") == 5 * MIB
    answer = plain_http.post(f"{service.url}/e/caller/do/keep", json={"key": "more", "size": 4 * MIB})
    assert answer.status_code == 500
    assert "save data failed" in service.invocation(answer.headers["x-invocation-id"])["detail"]
    assert do(service, "kept", key="new") == 5 * MIB
    answer = plain_http.post(f"{service.url}/e/caller/do/late")
    assert answer.text == "soon\n"
    assert service.invocation(answer.headers["x-invocation-id"])["outcome"] == "ok"
    assert do(service, "kept", key="late") == 1


def test_of_all_who_try_at_once_one_is_the_first(service: Executor) -> None:
    """Compare-and-set, over processes."""
    with ThreadPoolExecutor(6) as pool:
        winners = list(pool.map(lambda _: do(service, "race"), range(12)))
    assert winners.count(True) == 1


def test_values_outlive_the_service() -> None:
    """And with `scope: hook` each hook has its own."""
    with Executor(config=make_config(storage={"scope": "hook"})) as executor:
        assert do(executor, "keep", size=7) is True
        assert "error" in do(executor, "kept", hook="one")
        executor.stop()
        executor.start()
        assert do(executor, "kept") == 7


def test_without_a_target_calls_say_so() -> None:
    """And values are kept all the same."""
    with Executor(CALLER) as executor:
        assert "none configured (reverse.target)" in do(executor, "tell")["error"]
        assert do(executor, "keep") is True


def test_a_reload_reads_fixtures_again(tmp_path: Path) -> None:
    """Mistakes are told with file and line, and what was before goes on."""
    file = tmp_path / "fixtures.yaml"
    file.write_text("calls: [{call: app, text: before}]\n")
    with Executor(config=make_config(fixtures=str(file))) as executor:
        assert do(executor, "blocking")["answer"] == "before"
        file.write_text("calls:\n  - call: app\n    txt: after\n")
        executor.process.send_signal(1)
        problem = executor.wait_event("service.reload_refused")["problem"]
        assert f"{file}:3:5" in problem
        assert "did you mean text?" in problem
        file.write_text("calls: [{call: app, text: after}]\n")
        executor.process.send_signal(1)
        executor.wait_event("service.reloaded")
        assert do(executor, "blocking")["answer"] == "after"


def test_metrics(service: Executor) -> None:
    """Calls are counted by kind and outcome, and timed."""
    samples = (
        'executor_reverse_calls_total{kind="app",outcome="ok"}',
        'executor_reverse_call_duration_seconds_count{kind="app"}',
    )
    do(service, "blocking")
    text = ""
    for _ in until(60):
        text = plain_http.get(f"{service.admin}/metrics").text
        if all(sample in text for sample in samples):
            return
    raise AssertionError(text)
