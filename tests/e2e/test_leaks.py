"""A mix of everything, many times over: nothing is left behind, everybody is answered as documented."""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.e2e.harness import LAB, Executor

pytestmark = pytest.mark.e2e

MIB = 1 << 20
BLOCK = bytes(65536)
KINDS = ("small", "small", "small", "error", "crash", "timeout", "disconnect", "post")
LARGE = ("upload", "download")

HASTY = {"plugin": "lab", "limits": {"first_byte_time": "1s"}}

CONFIG = {
    "plugins": [str(LAB)],
    "hooks": {"lab": {}, "hasty": HASTY},
    "limits": {"cancel_grace_time": "100ms", "queue_length": 1000},
    "admission": {"concurrency": 16, "queue_time": "60s"},
}


def call(executor: Executor, client: httpx.Client, kind: str) -> str:
    """Make one request of a kind; what came of it."""
    match kind:
        case "small":
            return str(client.get("/status/200").status_code)
        case "error":
            return str(client.get("/raise/runtime").status_code)
        case "crash":
            return str(client.get("/die/kill").status_code)
        case "timeout":
            return str(client.get(f"{executor.url}/e/hasty/wait/30").status_code)
        case "post":
            return str(client.post("/echo", content=BLOCK).status_code)
        case "upload":
            answer = client.post("/digest", content=(BLOCK for _ in range(800)))
            return f"{answer.status_code} {answer.text.split()[0]}"
        case "download":
            with client.stream("GET", "/stream/800/65536") as answer:
                return f"{answer.status_code} {sum(len(data) for data in answer.iter_raw())}"
        case "disconnect":
            with executor.raw() as connection:
                connection.send(b"GET /e/lab/forever HTTP/1.1\r\nHost: h\r\n\r\n")
                connection.read_until(b"tick")
            return "cut"
    raise AssertionError(kind)


EXPECTED = {
    "small": "200",
    "error": "500",
    "crash": "502",
    "timeout": "504",
    "post": "200",
    "upload": f"200 {50 * MIB}",
    "download": f"200 {50 * MIB}",
    "disconnect": "cut",
}


def run_mix(requests: int, large_every: int) -> None:
    """Run a mix, then look at everything that could have been left behind."""
    rng = random.Random(7)
    kinds = [rng.choice(LARGE) if number % large_every == 0 else rng.choice(KINDS) for number in range(1, requests + 1)]
    with Executor(config=CONFIG) as executor:
        supervisor = psutil.Process(executor.process.pid)

        def work(share: list[str]) -> Counter[tuple[str, str]]:
            with executor.client() as client:
                return Counter((kind, call(executor, client, kind)) for kind in share)

        work([*dict.fromkeys(KINDS)])
        executor.wait_workers(0)
        resting = executor.resting_processes()
        descriptors = executor.resting_descriptors()
        memory = supervisor.memory_info().rss
        with ThreadPoolExecutor(8) as pool:
            results = sum(pool.map(work, [kinds[number::8] for number in range(8)]), Counter[tuple[str, str]]())
        assert dict(results.keys()) == {kind: EXPECTED[kind] for kind in set(kinds)}
        assert len(results) == len(set(kinds)), results
        assert sum(results.values()) == requests
        executor.wait_workers(0)
        assert executor.resting_processes() == resting
        assert not [process for process in executor.processes() if process.status() == psutil.STATUS_ZOMBIE]
        executor.wait_descriptors(descriptors + 2)
        assert supervisor.memory_info().rss < memory + 32 * MIB


def test_a_few_hundred_mixed_requests() -> None:
    """The short form, for every run of the tests."""
    run_mix(160, 40)


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_many_mixed_requests() -> None:
    """The long form: `make soak`, of ten thousand unless it says REQUESTS."""
    run_mix(int(os.environ.get("SOAK_REQUESTS", "10000")), 250)
