"""Noisy neighbours: one hook does its worst at its concurrency limit, and every request of others is answered well."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.sandbox.arena import PATIENCE, Arena, lasting, open_arena
from tests.sandbox.conftest import user_for
from tests.sandbox.deeds import DeedRecord, deeds_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NOISES: Final = deeds_of("noise")
NOISE_S: Final = 4.0 * PATIENCE
NOISY: Final = {
    "concurrency": len(NOISES),
    "queue_length": 0,
    "memory": "96 MiB",  # without control groups, what four processes have in common counts for each
    "processes": 24,
    "wall_time": lasting(5),
    "response_body": "8 MiB",
    "log_output": "64 KiB",
}


@pytest.fixture(scope="module", params=["root", "rootless"])
def arena(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Arena]:
    """Start a service with a noisy hook, a quiet one of the same plugin, and another plugin."""
    user = user_for(request.param)
    hooks = {"noisy": NOISY, "quiet": {}}
    with open_arena(plugins, hooks, user=user, plugin_names=("hostile", "lab")) as arena:
        yield arena


def make_noise(arena: Arena, noise: DeedRecord, stop: threading.Event) -> Counter[str]:
    """Ask for one kind of noise again and again; how these requests ended."""
    outcomes: Counter[str] = Counter()
    while not stop.is_set():
        request = arena.client.build_request("POST", f"/noisy/deed/noise/{noise.name}", json={})
        answer = arena.client.send(request, stream=True)
        with contextlib.closing(answer), contextlib.suppress(httpx.RemoteProtocolError):
            answer.read()
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            outcomes[arena.outcome(answer)] += 1
    return outcomes


def test_others_do_not_notice(arena: Arena) -> None:
    """A fork bomb, a memory bomb, a spinner and two floods at once: all requests of two other hooks succeed."""
    quiet = [arena.client.base_url.join("quiet/hello"), arena.client.base_url.join("lab/status/200")]
    assert [arena.client.get(url).status_code for url in quiet] == [200, 200]
    memory, stop, asked = arena.memory(), threading.Event(), 0
    with ThreadPoolExecutor(len(NOISES)) as pool:
        noises = [(noise, pool.submit(make_noise, arena, noise, stop)) for noise in NOISES]
        try:
            deadline = time.monotonic() + NOISE_S
            while time.monotonic() < deadline:
                for url in quiet:
                    answer = arena.client.get(url)
                    assert answer.status_code == httpx.codes.OK, answer.text
                    asked += 1
        finally:
            stop.set()
        for noise, future in noises:
            outcomes = future.result()
            assert outcomes, f"{noise}: there was no noise"
            assert set(outcomes) <= set(noise.ends), f"{noise}: {outcomes}"
    assert asked >= 2
    assert arena.memory() < memory + (48 << 20)
    arena.wait_alone()
    assert arena.hello("noisy", time_s=2) == "hello there"
    assert arena.executor.own_failures() == []
