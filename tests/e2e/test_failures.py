"""Endpoints that fail: every client is answered as documented, or visibly cut off, and nothing else suffers."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.harness import LAB, Executor, wait_ended

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/raise/runtime", 500, "endpoint.raised"),
        ("/raise/http", 500, "endpoint.raised"),
        ("/raise/exit", 500, "endpoint.raised"),
        ("/raise/recursion", 500, "endpoint.raised"),
        ("/raise/early", 500, "endpoint.body"),
        ("/body/bad-first-item", 500, "endpoint.body"),
        ("/return/none", 500, "endpoint.wrong_type"),
        ("/return/str", 500, "endpoint.wrong_type"),
        ("/return/dict", 500, "endpoint.wrong_type"),
        ("/return/tuple", 500, "endpoint.wrong_type"),
        ("/die/exit", 502, "worker.crashed"),
        ("/die/kill", 502, "worker.crashed"),
        ("/die/segfault", 502, "worker.crashed"),
        ("/die/abort", 502, "worker.crashed"),
    ],
)
def test_failures_before_the_first_byte(lab: Executor, path: str, status: int, code: str) -> None:
    """A clean answer with a stable code and no internals; the figures tell the operator more."""
    answer = lab.get(path)
    assert answer.status_code == status
    document = answer.json()
    assert document["code"] == code
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    figures = lab.invocation(document["invocation_id"])
    assert figures["outcome"] == code
    assert figures["detail"]
    if code.startswith("endpoint."):
        assert figures["exit"] == "exit 0", "a worker that has said what went wrong ends by itself"
    assert lab.get("/status/200").status_code == 200


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/raise/late", "endpoint.body"),
        ("/body/bad-item", "endpoint.body"),
        ("/die/late-kill", "worker.crashed"),
        ("/die/late-exit", "worker.crashed"),
    ],
)
def test_failures_after_the_first_byte_cut_the_connection(lab: Executor, path: str, outcome: str) -> None:
    """The client can tell that the response is not whole."""
    with lab.client() as client, client.stream("GET", path) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    assert lab.invocation(answer.headers["x-invocation-id"])["outcome"] == outcome


def test_old_clients_can_tell_a_cut_too(lab: Executor) -> None:
    """HTTP/1.0 ends a body with the connection; so a broken one ends with a reset, not with an orderly end."""
    with lab.raw() as connection:
        connection.send(b"GET /e/lab/raise/late HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.read_until(b"never")


def test_value_error_is_not_found(lab: Executor) -> None:
    """The contract's rule: 404 with the error's text."""
    answer = lab.get("/raise/value")
    assert (answer.status_code, answer.text) == (404, "no such thing")
    assert answer.headers["content-type"].startswith("text/plain")


def test_how_the_worker_ended_is_told(lab: Executor) -> None:
    """Exit statuses and signals are in the figures."""
    for path, how in (("/die/exit", "exit 3"), ("/die/kill", "SIGKILL"), ("/die/segfault", "SIGSEGV")):
        figures = lab.invocation(lab.get(path).headers["x-invocation-id"])
        assert how in figures["exit"]


def test_the_traceback_is_in_the_log(lab: Executor) -> None:
    """The operator sees where it happened, in the endpoint's own lines."""
    invocation_id = lab.get("/raise/runtime").headers["x-invocation-id"]
    record = lab.wait_event("endpoint.output", invocation_id=invocation_id, source="traceback")
    assert record["level"] == "error"
    assert "endpoints/raising.py" in record["message"]
    assert record["message"].rstrip().endswith("RuntimeError: internal secret")


def test_debug_shows_the_traceback() -> None:
    """With `debug`, and only then, the client sees what happened."""
    with Executor(config={"debug": True, "plugins": [str(LAB)]}) as executor:
        document = executor.get("/raise/runtime").json()
    assert "internal secret" in document["error"]
    assert "endpoints/raising.py" in document["traceback"]


@pytest.mark.parametrize("kind", ["child", "daemon"])
def test_processes_left_behind_are_ended(lab: Executor, kind: str) -> None:
    """A child or a daemon of the endpoint's does not outlive its invocation."""
    answer = lab.get(f"/spawn/{kind}")
    figures = lab.invocation(answer.headers["x-invocation-id"])
    assert figures["outcome"] == "ok"
    assert int(answer.text) > 2, "it has started one"
    assert len(lab.resting_processes()) == lab.resting_count


def test_a_forked_endpoint_answers_once(lab: Executor) -> None:
    """The copy cannot speak on the protocol's pipe."""
    answer = lab.get("/spawn/fork")
    assert answer.text == "answered once"
    assert lab.invocation(answer.headers["x-invocation-id"])["outcome"] == "ok"


@pytest.mark.parametrize("which", ["base zygote", "plugin zygote", "slot"])
def test_the_loss_of_a_parent_is_survived(which: str) -> None:
    """A request that runs is cut off, later ones are served by a new zygote or slot."""
    with Executor(LAB) as executor:
        with executor.client() as client, client.stream("GET", "/forever") as running:
            if which == "slot":  # there are others, for spare workers and for compiling the plugin
                victims = executor.named("ee-slot")
            else:
                victims = [executor.named("ee-zygote")[which == "plugin zygote"]]
            lost = [*victims, *(below for victim in victims for below in victim.children(recursive=True))]
            for victim in victims:
                victim.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                running.read()
        wait_ended(lost)  # spare workers, too: one that is about to end is no use
        assert executor.get("/status/200").status_code == 200
        assert executor.get("/count").text.startswith("1 ")
