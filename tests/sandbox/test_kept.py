"""Workers that are kept for another request of their hook: what that gives up ends at the hook, and no limit is lost.

Those that do wrong while they wait are ended, and the next request is answered by another worker.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
import yaml

from tests.e2e.harness import until
from tests.sandbox.arena import PATIENCE, Arena, lasting, open_arena, wait_until
from tests.sandbox.conftest import user_for
from tests.sandbox.deeds import DeedRecord, deeds_of
from tests.sandbox.test_endings import GONE_S, STAGES, family, still_running
from tests.sandbox.test_limits_hold import DEEDS as TAKING
from tests.sandbox.test_limits_hold import PERSISTENT, SMALL, TARGET
from tests.sandbox.test_pipe import read_answer
from tests.sandbox.test_state import PLAIN

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DEEDS: Final = {one.name: one for one in deeds_of("kept")}
OUTCOMES: Final = frozenset({"ok", "worker.protocol", "timeout.first_byte"})
WAITING: Final = tuple(one for one in DEEDS.values() if one.ends and not set(one.ends) & OUTCOMES)
GREEDY: Final = tuple(one for one in WAITING if one.proof == "limits")
FORGED: Final = tuple(one for one in DEEDS.values() if one.name.startswith(("forged_", "goes_on")))

STRICT: Final[dict[str, object]] = {
    "memory": "64 MiB",
    "scratch_size": "32 MiB",
    "file_size": "16 MiB",
    "cpu_time": lasting(1),
    "processes": 32,
    "log_output": "16 KiB",
    "response_body": "1 MiB",
    "first_byte_time": lasting(5),
    "idle_time": lasting(1),
    "wall_time": lasting(60),
}
AMPLE: Final = {
    **STRICT,
    "memory": "1 GiB",
    "cpu_time": "1m",
    "cpu_share": 2,
    "log_output": "64 MiB",
}
ONE: Final = {"concurrency": 1}
"""A request begins when the worker of the one before waits."""

SEVERAL: Final = {"max_invocations": 1000, "idle_time": "10m"}
HOOKS: Final[dict[str, dict[str, object]]] = {
    "strict": STRICT,
    "ample": AMPLE,
    "other": {},
    **{f"{whose}-{name}": {} for name in PLAIN for whose in ("leaves", "looks")},
}


@pytest.fixture(scope="module", params=["root", "rootless"])
def arena(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Arena]:
    """Start a service whose workers are kept; afterwards it is as it was."""
    user = user_for(request.param)
    with open_arena(plugins, HOOKS, user=user, limits=ONE, worker=SEVERAL) as arena:
        arena.hello()
        memory, descriptors = arena.memory(), arena.executor.descriptors()
        yield arena
        arena.executor.process.send_signal(signal.SIGHUP)
        arena.executor.wait_metric('executor_slots{state="kept"}', 0)
        assert arena.hello() == "hello there"
        assert arena.memory() < memory + 32 * 1024**2
        assert arena.executor.descriptors() < descriptors + 32
        assert arena.executor.own_failures() == []


def figures(arena: Arena, answer: httpx.Response) -> dict[str, Any]:
    """Tell what is known of an invocation that has ended."""
    return arena.executor.invocation(answer.headers["x-invocation-id"])


def hello(arena: Arena, hook: str) -> dict[str, Any]:
    """Make a harmless request, which has to succeed; its figures."""
    answer = arena.client.post(f"/{hook}/hello", content="there")
    assert (answer.status_code, answer.text) == (200, "hello there")
    return figures(arena, answer)


def do(
    arena: Arena, deed: DeedRecord, hook: str = "strict", target: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Have a deed done, whose answer may be cut; its figures."""
    path = f"/{hook}/deed/{deed.area}/{deed.name}"
    with (
        contextlib.suppress(httpx.RemoteProtocolError),
        arena.client.stream("POST", path, json=dict(target or {})) as answer,
    ):
        answer.read()
    return figures(arena, answer)


def wait_struck(arena: Arena, one: dict[str, Any]) -> str:
    """Wait until a worker has done wrong while it waited: `struck`, or why it was ended before it could say so."""
    for _ in until(30 * PATIENCE):
        for event in arena.executor.events("kept.ended"):
            if event["pid"] == one["pid"]:
                return str(event["reason"])
        for event in arena.executor.events("endpoint.output"):
            if event["invocation_id"] == one["invocation_id"] and event["message"] == "struck":
                return "struck"
    raise AssertionError(f"it has not struck: {arena.executor.log_text()[-2000:]}")


@pytest.mark.parametrize("deed", WAITING, ids=str)
def test_who_does_wrong_while_it_waits_is_ended(arena: Arena, deed: DeedRecord) -> None:
    """For its own reason; the next request of the hook is answered by another one, at once."""
    one = do(arena, deed)
    assert one["outcome"] == "ok"
    if one["exit"] == "kept":  # it has not struck too early
        wait_struck(arena, one)
    following = hello(arena, "strict")
    assert not following["reused"], f"{deed.tries}: it was not noticed"
    assert following["pid"] != one["pid"]
    if one["exit"] == "kept":
        assert arena.executor.wait_event("kept.ended", pid=one["pid"])["reason"] in deed.ends


@pytest.mark.parametrize("name", ["waits", "says_little"])
def test_who_waits_quietly_is_kept(arena: Arena, name: str) -> None:
    """So it is not everybody who is ended; what it says belongs to the request that has made it say that."""
    one = do(arena, DEEDS[name])
    assert wait_struck(arena, one) == "struck"
    following = hello(arena, "strict")
    assert (following["reused"], following["pid"]) == (True, one["pid"])
    said = [event for event in arena.executor.events("endpoint.output") if event["message"] == "a line"]
    assert {event["invocation_id"] for event in said if name == "says_little"} <= {one["invocation_id"]}


@pytest.mark.parametrize("deed", GREEDY, ids=str)
def test_who_may_take_as_much_is_kept(arena: Arena, deed: DeedRecord) -> None:
    """With higher limits the same deeds are nothing to end a worker for."""
    one = do(arena, deed, "ample")
    assert wait_struck(arena, one) == "struck"
    following = hello(arena, "ample")
    assert (following["reused"], following["pid"]) == (True, one["pid"])


@pytest.mark.parametrize("deed", FORGED, ids=str)
def test_a_forged_turn_ends_the_worker(arena: Arena, deed: DeedRecord) -> None:
    """Whatever it says about whose turn it is, the next request is answered by another one."""
    one = do(arena, deed)
    assert one["outcome"] in deed.ends
    if one["exit"] == "kept":
        arena.executor.wait_event("kept.ended", pid=one["pid"], reason="misbehaved")
    following = hello(arena, "strict")
    assert not following["reused"], f"{deed.tries}: it was not noticed"


def test_a_call_in_nobodys_name_is_refused(arena: Arena) -> None:
    """A thread that calls by the session of a request that is over is told so; its worker stays."""
    one = do(arena, DEEDS["calls_late"])
    arena.executor.wait_event("endpoint.output", invocation_id=one["invocation_id"], message="struck")
    said = [event["message"] for event in arena.executor.events("endpoint.output")]
    assert [text for text in said if text.startswith("refused: ")] != []
    assert "got a call" not in said
    assert hello(arena, "strict")["pid"] == one["pid"]


def test_who_takes_later_requests_is_of_its_hook(plugins: Path) -> None:
    """That is what keeping gives up: so many later requests of the hook get what the worker likes, and no others."""
    with open_arena(plugins, {"taken": {}, "other": {}}, limits=ONE, worker={"max_invocations": 3}) as arena:
        one = do(arena, DEEDS["takes_requests"], "taken")
        assert one["exit"] == "kept"
        answers = []
        for _ in range(3):
            answers.append(arena.client.get("/taken/hello").text)
            assert hello(arena, "other")["pid"] != one["pid"]
        assert answers == ["forged", "forged", "hello "]


@pytest.mark.parametrize("name", ["speaks_before_answers", "speaks_into_answers"])
def test_who_speaks_into_later_answers_is_cut(arena: Arena, name: str) -> None:
    """An answer with foreign words in it is not taken for whole, and the next on the connection is the right one."""
    one = do(arena, DEEDS[name])
    assert one["exit"] == "kept"
    if name == "speaks_into_answers":
        assert wait_struck(arena, one) == "struck"
    with arena.executor.raw() as connection:
        for hook in ("strict", "other"):
            connection.send(f"GET /e/{hook}/hello HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        first = read_answer(connection)
        assert first is not None
        outcome = arena.executor.invocation(first.headers["x-invocation-id"][0])["outcome"]
        assert outcome == "worker.protocol"
        assert not first.whole or first.headers["content-type"] == ["application/problem+json"]
        if first.whole:
            second = read_answer(connection)
            assert second is not None
            assert (second.status, second.body) == (200, b"hello ")
    assert not hello(arena, "strict")["reused"]


def test_who_hears_nothing_fails_one_request(arena: Arena) -> None:
    """Of its own hook, by the hook's own clock."""
    one = do(arena, DEEDS["stops"])
    assert one["exit"] == "kept"
    (process,) = (one_ for one_ in arena.executor.processes() if one_.pid == one["pid"])
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, 30)
    answer = arena.client.post("/strict/hello", content="there")
    assert answer.json()["code"] == "timeout.first_byte"
    assert figures(arena, answer)["reused"]
    assert not hello(arena, "strict")["reused"]


def test_what_was_not_read_of_a_body_is_not_in_the_next(arena: Arena) -> None:
    """The rest of a body that an endpoint has no use for is gone, whatever was on its way."""
    first = arena.client.post("/other/state/look/module", content=b"smuggled " * 300_000)
    assert first.status_code == httpx.codes.OK
    following = hello(arena, "other")
    assert following["reused"]


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_left_stays_in_the_hook(arena: Arena, name: str) -> None:
    """No other hook of the plugin finds anything; that there is something, a later request of the same hook sees."""
    assert ask_hook(arena, f"leaves-{name}", "leave", name)["refused"] is None
    found = ask_hook(arena, f"looks-{name}", "look", name)
    assert found["found"] is None, f"{name}: {found['found']}"
    assert ask_hook(arena, f"leaves-{name}", "look", name)["found"] is not None, "there was nothing to be found"


def change(arena: Arena, plugins: Path, what: str) -> None:
    """Change what is served, by hand, and have it read again."""
    executor = arena.executor
    config = yaml.safe_load(executor.config_file.read_text())
    match what:
        case "settings":
            config["hooks"]["changed"]["settings"] = {"unknown": "another value"}
        case "limits":
            config["hooks"]["changed"]["limits"] = {"wall_time": "59s"}
        case "version":
            with (plugins / "hostile" / "endpoints" / "never.py").open("a") as source:
                source.write("\n# another version\n")
    executor.config_file.write_text(yaml.safe_dump(config))
    reloads = len(executor.events("service.reloaded"))
    executor.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(executor.events("service.reloaded")) > reloads, 60)


@pytest.mark.parametrize("what", ["settings", "limits", "version", "nothing"])
def test_what_is_left_does_not_outlive_a_change(plugins: Path, what: str) -> None:
    """Whatever changes: neither what waits, nor what is busy while it changes, is used again."""
    with open_arena(plugins, {"changed": {}}, limits=ONE, worker=SEVERAL) as arena:
        ask_hook(arena, "changed", "leave", "module_variable")
        assert ask_hook(arena, "changed", "look", "module_variable")["found"], "it is there as long as nothing changes"
        with arena.executor.raw() as connection:  # it takes the worker, and has it while the change comes
            connection.send(b"POST /e/changed/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
            arena.executor.wait_workers(1, hook_id="changed")
            change(arena, plugins, what)
            connection.send(b"x")
            answer = read_answer(connection)
            assert answer is not None
            assert (answer.status, answer.body) == (httpx.codes.OK, b"hello x")
        assert ask_hook(arena, "changed", "look", "module_variable")["found"] is None


def ask_hook(arena: Arena, hook: str, step: str, name: str) -> dict[str, Any]:
    """Leave a trace, or look for it, in a hook."""
    answer = arena.post(hook, f"/state/{step}/{name}")
    assert answer.status_code == httpx.codes.OK, answer.text
    result: dict[str, Any] = answer.json()
    return result


LATER: Final = tuple(
    one
    for one in TAKING
    if str(one)
    in {
        *("memory.heap", "memory.shared_mapping", "memory.many_children", "memory.scratch_files", "memory.pipes"),
        *("bombs.forks", "bombs.threads", "disk.fill", "disk.large_file", "disk.many_files"),
        *("cpu.loop", "cpu.children", "cpu.in_the_kernel"),
    }
)
"""Some of those who take more than they may, for each limit."""


def hook_for(deed: DeedRecord, size: str) -> str:
    """Name the hook of a deed: a worker in which nobody else has left anything."""
    return f"{size}-{deed}".replace(".", "-")


@pytest.fixture(scope="module", params=["root", "rootless"])
def taking(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Arena]:
    """Start a service with hooks of little and of enough, whose workers are kept."""
    user = user_for(request.param)
    small = {hook_for(one, "small"): SMALL.get(str(one), SMALL[one.area]) for one in LATER}
    large = {hook_for(one, "large"): one.limits for one in LATER}
    ending = {**STRICT, "memory": "256 MiB", "first_byte_time": lasting(30)}  # on a busy machine others come late
    hooks = {**small, **large, "ending": ending, "anew": STRICT, "hoard": {"memory": "96 MiB"}}
    limits = {**ONE, "first_byte_time": lasting(280), "wall_time": lasting(290)}
    with open_arena(plugins, hooks, user=user, limits=limits, worker=SEVERAL) as arena:
        yield arena
        assert arena.executor.own_failures() == []


@pytest.mark.parametrize("deed", LATER, ids=str)
def test_limits_hold_in_later_requests(taking: Arena, deed: DeedRecord, request: pytest.FixtureRequest) -> None:
    """Who takes too much in the second request of a worker gets as little as in the first, and the third is well."""
    if deed.by_groups and "rootless" in request.node.name:
        pytest.skip("nothing but a control group bounds it")
    hook = hook_for(deed, "small")
    assert not hello(taking, hook)["reused"]
    answer = taking.do(hook, deed, TARGET)
    one = figures(taking, answer)
    assert one["reused"], taking.executor.events("kept.ended")
    if one["outcome"] == "ok":
        assert answer.json()["escaped"] is False, f"{deed.tries}: {answer.json()['detail']}"
    else:
        assert one["outcome"] in deed.ends
        assert not hello(taking, hook)["reused"]


@pytest.mark.parametrize("deed", LATER, ids=str)
def test_later_requests_succeed_with_more(taking: Arena, deed: DeedRecord, request: pytest.FixtureRequest) -> None:
    """With higher limits the same deed gets what it wants, in a second request as well."""
    if "rootless" in request.node.name:
        pytest.skip("it is enough to see it once")
    hook = hook_for(deed, "large")
    hello(taking, hook)
    answer = taking.do(hook, deed, PERSISTENT)
    assert answer.json()["escaped"] is True, f"{deed.tries}: {answer.json()['detail']}"
    assert figures(taking, answer)["reused"]


ENDING: Final = tuple((stage, *STAGES[stage]) for stage in STAGES if stage not in {"answer", "first_byte"})


@pytest.mark.parametrize(("stage", "deed", "outcome"), ENDING, ids=[stage for stage, _, _ in ENDING])
def test_later_requests_end_as_the_first(taking: Arena, stage: str, deed: str, outcome: str) -> None:
    """Whatever ends it, its worker ends with it, and all that it has started."""
    area, _, name = deed.partition("/")
    (one,) = (one for one in deeds_of(area) if one.name == name)
    before = hello(taking, "ending")
    ended = do(taking, one, "ending", {"bytes": 320 << 20, "seconds": 3 * PATIENCE})
    assert (ended["reused"], ended["pid"]) == (True, before["pid"]), stage
    assert ended["outcome"] == outcome
    assert not hello(taking, "ending")["reused"]
    wait_until(lambda: len(workers_of(taking, before["pid"])) == 0, GONE_S)


def workers_of(arena: Arena, pid: int) -> list[psutil.Process]:
    """Find a worker of the service by its number, as long as it lives."""
    return [one for one in still_running(family(arena.pid)) if one.pid == pid]


def test_limits_count_anew(taking: Arena) -> None:
    """What is most of a limit may be used by each request, though all together use much more."""
    target = {"seconds": 0.6 * PATIENCE, "lines": 100}
    seen = [do(taking, DEEDS["uses_most"], "anew", target) for _ in range(4)]
    assert [one["outcome"] for one in seen] == ["ok"] * 4
    assert len({one["pid"] for one in seen}) == 1
    assert all(one["log_dropped_bytes"] > 0 for one in seen)


def test_what_is_hoarded_counts(taking: Arena) -> None:
    """Memory that earlier requests have left in a worker is a part of what the later ones may have."""
    answers = [taking.do("hoard", DEEDS["hoards"], {"bytes": 40 << 20}) for _ in range(3)]
    assert answers[0].text == "1"
    assert answers[2].json().get("code") == "limit.memory" or answers[2].json()["escaped"] is False


@pytest.mark.parametrize("how", ["idle", "stopped", "killed"])
def test_nothing_of_a_kept_worker_stays(plugins: Path, how: str) -> None:
    """When its time is over or the service ends, however it does, all that it has started is gone within a second."""
    worker = {**SEVERAL, "idle_time": "1s" if how == "idle" else "10m"}
    with open_arena(plugins, {}, worker=worker) as arena:
        one = do(arena, DEEDS["stays"], "hostile")
        assert one["exit"] == "kept"
        processes = arena.executor.named("ee-worker")
        assert len(processes) >= 4 or how == "idle"
        match how:
            case "idle":
                arena.executor.wait_event("kept.ended", pid=one["pid"], reason="idle")
                arena.wait_alone(GONE_S)
            case "stopped":
                assert arena.executor.stop() == 0
            case "killed":
                arena.executor.process.kill()
                arena.executor.process.wait(30 * PATIENCE)
        wait_until(lambda: not still_running(processes), GONE_S, lambda: still_running(processes))
