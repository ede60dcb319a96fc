"""Workers that do not want to end, or end in odd ways: they end, with all that they have started."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from tests.environments import python_for
from tests.sandbox.arena import Arena, Batch, chosen, lasting, open_arena, wait_until
from tests.sandbox.attacks import HOSTILE
from tests.sandbox.conftest import user_for
from tests.sandbox.deeds import DeedRecord, deeds_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LEFT: Final = "sandbox-left"
"""Name of the processes that deeds leave behind; see `attacks/stubborn.py`."""

SHORT: Final = {"first_byte_time": lasting(5), "idle_time": lasting(2), "wall_time": lasting(8)}
DEEDS: Final = tuple(one for one in deeds_of("stubborn") if one.name != "signals_itself")
STAYING: Final = tuple(one for one in DEEDS if one.proof == "limits" and one.ends)
LEAVING: Final = tuple(one for one in DEEDS if one.name.startswith("leaves_"))

SIGNALS: Final = tuple(sorted(signal.valid_signals()))


class Results:
    """What came of the deeds, each done once, some side by side."""

    def __init__(self, arena: Arena, things: list[DeedRecord | int]) -> None:
        self.arena = arena
        (self._signal,) = (one for one in deeds_of("stubborn") if one.name == "signals_itself")
        self.batch: Batch[DeedRecord | int, tuple[httpx.Response | None, str]] = Batch(self._ask, things, 12)

    def _ask(self, thing: DeedRecord | int) -> tuple[httpx.Response | None, str]:
        """Do it; the answer, none if it was cut, and the outcome."""
        deed, target = (self._signal, {"signal": thing}) if isinstance(thing, int) else (thing, {})
        request = self.arena.client.build_request("POST", f"/hostile/deed/{deed.area}/{deed.name}", json=target)
        answer = self.arena.client.send(request, stream=True)
        try:
            answer.read()
        except httpx.RemoteProtocolError:
            return None, self.arena.outcome(answer)
        finally:
            answer.close()
        return answer, self.arena.outcome(answer)


@pytest.fixture(scope="module", params=["root", "rootless"])
def results(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Results]:
    """Everything is done once; afterwards nothing is left of it."""
    user = user_for(request.param)
    with open_arena(plugins, {}, user=user, limits=SHORT) as arena:
        arena.hello()
        results = Results(arena, chosen(request, "deed", "number"))
        with contextlib.closing(results.batch):
            yield results
        arena.wait_alone()
        assert arena.hello(time_s=2) == "hello there"
        assert arena.executor.own_failures() == []


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_it_ends(results: Results, deed: DeedRecord) -> None:
    """It ends as it is documented, its client is told, and its hook serves the next request."""
    answer, outcome = results.batch.result(deed)
    assert outcome in (deed.ends or ("ok",)), f"{deed.tries}: {outcome}"
    if outcome == "ok":
        assert answer is not None
        assert answer.text == "answered"
    elif answer is not None:
        assert answer.json()["code"] == outcome
    assert results.arena.hello() == "hello there"


@pytest.mark.parametrize("number", SIGNALS)
def test_signals(results: Results, number: int) -> None:
    """Whichever signal it sends to itself: it survives it, stops, or is gone, and nobody else notices."""
    answer, outcome = results.batch.result(number)
    assert answer is not None
    assert outcome in {"ok", "worker.crashed", "timeout.first_byte", "endpoint.raised", "timeout.cpu"}
    if number in {signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT, signal.SIGRTMIN}:
        assert outcome == "worker.crashed"
    if number == signal.SIGSTOP:
        assert outcome == "timeout.first_byte"
    if number in {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}:
        assert outcome == "ok", "a session without a terminal is not stopped by what terminals send"


@pytest.fixture(scope="module")
def patient(plugins: Path) -> Iterator[Arena]:
    """Start a service that gives workers a minute to end."""
    long = {"first_byte_time": "2m", "idle_time": "2m", "wall_time": "2m", "cancel_grace_time": "1m"}
    with open_arena(plugins, {}, limits=long) as arena:
        yield arena
        for worker in arena.executor.workers():
            psutil.Process(worker["pid"]).kill()
        arena.executor.wait_workers(0)


def begun(arena: Arena) -> int:
    """Count the workers that have said, once or more, that they are stubborn now."""
    said = arena.executor.events("endpoint.output")
    return len({event["invocation_id"] for event in said if event["message"] == "begun"})


def test_stubbornness_is_real(patient: Arena) -> None:
    """Without a clock they stay, although their clients have gone and they were told to stop."""
    executor = patient.executor
    with contextlib.ExitStack() as stack:
        for deed in STAYING:
            connection = stack.enter_context(executor.raw())
            head = f"POST /e/hostile/deed/{deed.area}/{deed.name} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
            connection.send(head.encode() + b"{}")
        wait_until(lambda: begun(patient) == len(STAYING), 60, lambda: f"{begun(patient)} of {len(STAYING)} have begun")
    workers = executor.wait_workers(len(STAYING), state="ending")
    with contextlib.suppress(AssertionError):
        wait_until(lambda: len(executor.workers()) < len(STAYING), 1)
    still = {worker["rule"] for worker in executor.workers()}
    assert len(executor.workers()) == len(STAYING), f"{workers} {still}"


def test_what_is_left_is_real(plugins: Path, tmp_path: Path) -> None:
    """Outside of a sandbox, what they leave behind outlives them."""
    for deed in LEAVING:
        script = (
            f"import sys; sys.path.insert(0, {str(HOSTILE)!r}); import attacks.stubborn; "
            f"attacks.stubborn.{deed.name}({{}})"
        )
        subprocess.run(
            [python_for(plugins.parent), "-B", "-c", script], check=False, timeout=30, stdout=subprocess.DEVNULL
        )
        left = [process for process in psutil.process_iter(["name"]) if process.info["name"] == LEFT]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert left, deed.tries
    wait_until(lambda: not [one for one in psutil.process_iter(["name"]) if one.info["name"] == LEFT], 30)
