"""Cases about much of something, streams, requests in flight, plugins, hooks, and about what is not there yet."""

from __future__ import annotations

import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.bench.measuring import Figures, Options, WrongAnswersError, latencies, put_load, warm_up, with_usage
from tests.bench.processes import processes_below, proportional_bytes, settle, tree_bytes
from tests.bench.sdk import SdkError, provide_sdk_venv
from tests.bench.services import (
    SIBLING,
    end_zygote,
    find_zygote,
    importing,
    many_hooks,
    many_plugins,
    many_workers,
    plain,
    real_sdk,
)
from tests.bench.statistics import percentile
from tests.bench.systems import HttpSystem, OurService, Unavailable
from tests.bench.workloads import HELLO, SLOW_PIECES, slow_workload

__all__ = [
    "IN_FLIGHT",
    "measure_cold_plugin",
    "measure_cold_sdk",
    "measure_flights",
    "measure_hooks",
    "measure_imports",
    "measure_plugins",
    "measure_slow_streams",
    "measure_spares",
]

MIB: Final = 1 << 20
WORKER_NAME: Final = "ee-worker"

IN_FLIGHT: Final = (1, 16, 64, 200)
"""Requests in flight, for each of which there is a worker."""

SPARE_CLIENTS: Final = 16

STREAMS_PER_S: Final = 20.0
"""Streams begun each second: fewer than any of the systems can begin, so that nothing is measured but streams."""

OPEN_FACTOR: Final = 1.1
OPEN_LEAST_S: Final = 1.0
"""How long a stream lasts: so many times what it takes to begin all of them, and a little; so all are open at once."""

IMPORTS: Final = 3
SDK_IMPORT: Final = ("-I", "-c", "import dify_plugin")


def measure_slow_streams(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    """Have many streams open at once, each of which says a little now and then."""
    if isinstance(system, OurService):
        with many_workers(options.streams) as service:
            return _slow_streams(service, options.streams)
    return _slow_streams(system, options.streams)


def measure_flights(_system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    """Have ever more requests in flight, all of them with a worker."""
    found: Figures = {}
    with many_workers(max(IN_FLIGHT)) as service:
        for clients in IN_FLIGHT:
            warm_up(service, options, clients)
            load, used = with_usage(service, clients=clients, seconds=options.seconds)
            found |= {f"cpu_{clients}_ms": used["cpu_ms"], f"rate_{clients}": len(load.times_ms) / load.elapsed_s}
    return found


def measure_plugins(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    """Call one of many plugins."""
    with many_plugins(options.plugins) as many:
        return _one_and_many(system, many, options)


def measure_hooks(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    """Call one of many hooks."""
    with many_hooks(options.hooks) as many:
        return _one_and_many(system, many, options)


def measure_imports(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    """Call a plugin that imports something, and one that does not."""
    with importing() as other:
        return _by_turns({"bare": system, "importing": other}, options)


def measure_cold_plugin(_system: HttpSystem, _options: Options, _: dict[str, Figures]) -> Figures:
    """Call a plugin that has no processes: as long after its last request."""
    with plain() as service:
        end_zygote(find_zygote(service, service.hook))
        return {"cold_ms": _first(service)}


def measure_cold_sdk(_system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    """Call a plugin with the real SDK that has no processes, and then another one in the same environment.

    Raises:
        Unavailable: The SDK cannot be had here.
    """
    try:
        python = provide_sdk_venv(options.sdk_python)
    except SdkError as error:
        raise Unavailable(str(error)) from error
    imported_ms = _time_import(python)
    with real_sdk(python) as service:
        end_zygote(find_zygote(service, None))
        cold_ms = _first(service)
        service.hook = SIBLING
        sibling_ms = _first(service)
        return {
            "import_ms": imported_ms,
            "cold_ms": cold_ms,
            "sibling_ms": sibling_ms,
            "spare_mib": measure_spares(service, options)["spare_mib"],
        }


def measure_spares(system: HttpSystem, options: Options) -> Figures:
    """Look at spare workers at rest.

    Raises:
        WrongAnswersError: There are none.
    """
    warm_up(system, options, SPARE_CLIENTS)
    settle(system.pid)
    spares = [pid for pid, (name, _) in processes_below(system.pid).items() if name == WORKER_NAME]
    if not spares:
        raise WrongAnswersError("there are no spare workers")
    sizes = [proportional_bytes(pid) / MIB for pid in spares]
    return {"spare_mib": statistics.median(sizes), "spares": len(sizes)}


def _slow_streams(system: HttpSystem, count: int) -> Figures:
    beginning_s = count / STREAMS_PER_S
    lasting_s = OPEN_FACTOR * beginning_s + OPEN_LEAST_S
    pause_ms = round(lasting_s * 1000 / (SLOW_PIECES - 1))
    workload = slow_workload(pause_ms)
    warm_up(system, Options(seconds=1.0))
    before, at_rest = settle(system.pid), tree_bytes(system.pid)
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(put_load, system, workload, "open", rate=STREAMS_PER_S, requests=count)
        time.sleep((beginning_s + lasting_s) / 2)  # all have begun, and none has ended
        while_open = tree_bytes(system.pid)
        load = loading.result()
    used = settle(system.pid) - before
    ideal_ms = (SLOW_PIECES - 1) * pause_ms
    late_ms = [last - first - ideal_ms for first, last in zip(load.first_ms, load.times_ms, strict=True)]
    first = latencies(load.first_ms)
    return {
        "open": load.open_most,
        "first_byte_p50_ms": first["p50_ms"],
        "first_byte_p99_ms": first["p99_ms"],
        "late_p99_ms": percentile(late_ms, 99),
        "stream_cpu_ms": used.cpu_s * 1000 / count,
        "stream_mib": (while_open - at_rest) / count / MIB,
    }


def _one_and_many(one: HttpSystem, many: HttpSystem, options: Options) -> Figures:
    settle(many.pid)
    facts = {"many_start_ms": many.start_s * 1000, "many_mib": proportional_bytes(many.pid) / MIB}
    return facts | _by_turns({"one": one, "many": many}, options)


def _by_turns(systems: dict[str, HttpSystem], options: Options) -> Figures:
    """Put the same load on two systems by turns, so that a machine that becomes slower or faster does so for both."""
    found: Figures = {}
    times: dict[str, list[float]] = {name: [] for name in systems}
    cpu_ms = dict.fromkeys(systems, 0.0)
    for name in (*systems, *reversed(systems)):
        system = systems[name]
        warm_up(system, options)
        load, used = with_usage(system, seconds=options.seconds / 2)
        times[name] += load.times_ms
        cpu_ms[name] += used["cpu_ms"] * len(load.times_ms)
    for name, values in times.items():
        found |= {f"{name}_p50_ms": percentile(values, 50), f"{name}_cpu_ms": cpu_ms[name] / len(values)}
    return found


def _first(service: OurService) -> float:
    """Make one request, once the service has noticed what was done to it; milliseconds."""
    settle(service.pid)
    return put_load(service, HELLO, "closed", requests=1).times_ms[0]


def _time_import(python: Path) -> float:
    """Import the SDK in a new interpreter of its environment, some times; milliseconds in the median."""
    command = [str(python), *SDK_IMPORT]
    times = []
    for _ in range(IMPORTS):
        begun = time.monotonic()
        subprocess.run(command, check=True)
        times.append((time.monotonic() - begun) * 1000)
    return statistics.median(times)
