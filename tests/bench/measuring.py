"""How one figure is taken: load on a running system, and what its processes used meanwhile."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Final

from tests.bench.load import Load, Plan
from tests.bench.processes import settle
from tests.bench.sdk import ROOT
from tests.bench.statistics import percentile
from tests.bench.systems import HttpSystem
from tests.bench.workloads import HELLO, Workload

__all__ = ["Figures", "Options", "WrongAnswersError", "latencies", "put_load", "warm_up", "with_usage"]

Figures = dict[str, float]
"""Names, which end in their unit where they have one, and values."""

ALL_LOAD_TIME_S: Final = 1800


class WrongAnswersError(Exception):
    """Requests failed or were answered wrongly, so that there is nothing to measure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How much is measured.

    Attributes:
        rounds: How often each case is measured.
        seconds: For how long, where a case goes on for some time.
        requests: How many make up the long run.
        burst: How many come at once.
        hooks: How many there are where there are many.
        plugins: How many there are where there are many.
        streams: How many slow ones are open at once.
        sdk_python: Interpreter for Dify's SDK; None for any.
    """

    rounds: int = 5
    seconds: float = 5.0
    requests: int = 20_000
    burst: int = 200
    hooks: int = 100_000
    plugins: int = 1000
    streams: int = 1000
    sdk_python: str | None = None


def put_load(
    system: HttpSystem,
    workload: Workload,
    mode: str,
    *,
    clients: int = 1,
    seconds: float = 0.0,
    requests: int = 0,
    rate: float = 0.0,
) -> Load:
    """Put load on a system; see `tests.bench.load.Plan`.

    Raises:
        WrongAnswersError: Of any request.
    """
    content, size = system.content(workload)
    plan = Plan(
        mode=mode,
        port=system.port,
        request=base64.b64encode(system.request(workload)).decode(),
        content=content,
        least_size=size,
        clients=clients,
        seconds=seconds,
        requests=requests,
        rate=rate,
    )
    command = [sys.executable, "-m", "tests.bench.load"]
    done = subprocess.run(
        command,
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=ALL_LOAD_TIME_S,
    )
    if done.returncode != 0:
        raise WrongAnswersError(f"no load could be made: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    load = Load(**json.loads(done.stdout))
    if load.failed or not load.times_ms:
        raise WrongAnswersError(f"{load.failed} requests of {workload.name} failed: {'; '.join(load.failures)}")
    return load


def warm_up(system: HttpSystem, options: Options, clients: int = 1) -> None:
    """Let a system get used to a load, which is not measured."""
    put_load(system, HELLO, "closed", clients=clients, seconds=min(1.0, options.seconds / 2))


def with_usage(
    system: HttpSystem, *, clients: int = 1, seconds: float = 0.0, requests: int = 0
) -> tuple[Load, Figures]:
    """Measure `hello` in a closed loop.

    Returns:
        The load, and what each request used: `cpu_ms` and `minor_faults` of the whole tree of processes.
    """
    before = settle(system.pid)
    load = put_load(system, HELLO, "closed", clients=clients, seconds=seconds, requests=requests)
    used = settle(system.pid) - before
    count = len(load.times_ms)
    return load, {"cpu_ms": used.cpu_s * 1000 / count, "minor_faults": used.minor_faults / count}


def latencies(times_ms: list[float]) -> Figures:
    """Return `p50_ms` and `p99_ms`."""
    return {"p50_ms": percentile(times_ms, 50), "p99_ms": percentile(times_ms, 99)}
