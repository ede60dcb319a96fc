"""The cases: what is done to a system, and which figures that gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.measuring import Figures, Options, latencies, put_load, warm_up, with_usage
from tests.bench.processes import settle
from tests.bench.scale_cases import (
    IN_FLIGHT,
    measure_cold_plugin,
    measure_cold_sdk,
    measure_flights,
    measure_hooks,
    measure_imports,
    measure_plugins,
    measure_slow_streams,
    measure_spares,
)
from tests.bench.services import plain
from tests.bench.statistics import percentile
from tests.bench.systems import DirectSystem, HttpSystem
from tests.bench.workloads import HELLO, STREAM, UPLOAD

__all__ = ["CASES", "FIGURES", "Case", "measure_cold", "measure_direct"]

MANY_CLIENTS: Final = 16
STREAM_CLIENTS: Final = 8
UPLOADS_MOST: Final = 20
PART_MOST: Final = 1000
"""Requests at either end of the long run that are compared."""

FIGURES: Final = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "cpu_ms": "CPU, ms/request",
    "minor_faults": "minor faults/request",
    "rate": "requests/s",
    "last_ms": "last answer, ms",
    "start_ms": "start, ms",
    "first_ms": "first request, ms",
    "import_ms": "import of the SDK by itself, ms",
    "cold_ms": "first request, ms",
    "sibling_ms": "first request, a sibling warm, ms",
    "spare_mib": "PSS of a spare worker, MiB",
    "spares": "spare workers",
    "many_start_ms": "start with many, ms",
    "many_mib": "PSS of the supervisor with many, MiB",
    "one_p50_ms": "p50 with one, ms",
    "many_p50_ms": "p50 with many, ms",
    "one_cpu_ms": "CPU with one, ms/request",
    "many_cpu_ms": "CPU with many, ms/request",
    **{f"cpu_{count}_ms": f"CPU with {count} in flight, ms/request" for count in IN_FLIGHT},
    **{f"rate_{count}": f"requests/s with {count} in flight" for count in IN_FLIGHT},
    "bare_p50_ms": "p50 without imports, ms",
    "importing_p50_ms": "p50 with imports, ms",
    "bare_cpu_ms": "CPU without imports, ms/request",
    "importing_cpu_ms": "CPU with imports, ms/request",
    "open": "open at once",
    "first_byte_p50_ms": "p50 to the first byte, ms",
    "first_byte_p99_ms": "p99 to the first byte, ms",
    "late_p99_ms": "p99 of the delay of the last byte, ms",
    "stream_cpu_ms": "CPU, ms/stream",
    "stream_mib": "PSS of an open stream, MiB",
    "first_p50_ms": "p50 of the first, ms",
    "last_p50_ms": "p50 of the last, ms",
    "first_cpu_ms": "CPU of the first, ms/request",
    "last_cpu_ms": "CPU of the last, ms/request",
}
"""Names of figures, and how the table writes them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        name: For the command line.
        meaning: For people.
        systems: Whom it is for: `http`, `all`, or `executor`.
        measure: Takes the figures of a system that runs, given those of cases before it in the same round. None where
            `bench` does it.
        needs: A case that has to be measured before.
        once: Whether it is measured in the last round only.
    """

    name: str
    meaning: str
    systems: str
    measure: Callable[[HttpSystem, Options, dict[str, Figures]], Figures] | None
    needs: str | None = None
    once: bool = False


def measure_direct(system: DirectSystem, options: Options) -> Figures:
    """Measure `hello` on a system without HTTP."""
    found = system.measure(requests=0, seconds=options.seconds)
    return latencies(found["times_ms"]) | {"cpu_ms": found["cpu_ms"], "minor_faults": found["minor_faults"]}


def measure_cold(system: HttpSystem) -> Figures:
    """Measure a system that has been started just now, and has answered nothing yet."""
    load = put_load(system, HELLO, "closed", requests=1)
    return {"start_ms": system.start_s * 1000, "first_ms": load.times_ms[0]}


def _hello(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    warm_up(system, options)
    load, used = with_usage(system, seconds=options.seconds)
    return latencies(load.times_ms) | used


def _hello_many(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    warm_up(system, options, MANY_CLIENTS)
    load, used = with_usage(system, clients=MANY_CLIENTS, seconds=options.seconds)
    return {"rate": len(load.times_ms) / load.elapsed_s, "cpu_ms": used["cpu_ms"]}


def _hello_half(system: HttpSystem, options: Options, before: dict[str, Figures]) -> Figures:
    rate = before["hello-16"]["rate"] / 2
    put_load(system, HELLO, "open", rate=rate, seconds=min(1.0, options.seconds / 2))
    return latencies(put_load(system, HELLO, "open", rate=rate, seconds=options.seconds).times_ms)


def _stream(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    load = put_load(system, STREAM, "closed", clients=STREAM_CLIENTS, seconds=options.seconds)
    return {"rate": len(load.times_ms) / load.elapsed_s}


def _upload(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    load = put_load(system, UPLOAD, "closed", seconds=options.seconds, requests=UPLOADS_MOST)
    return {"p50_ms": percentile(load.times_ms, 50)}


def _burst(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    settle(system.pid)
    return {"last_ms": max(put_load(system, HELLO, "burst", clients=options.burst).times_ms)}


def _memory(system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    return measure_spares(system, options)


def _long(_system: HttpSystem, options: Options, _: dict[str, Figures]) -> Figures:
    part = max(1, min(PART_MOST, options.requests // 3))
    with plain() as system:
        first, first_used = with_usage(system, requests=part)
        put_load(system, HELLO, "closed", requests=options.requests - 2 * part)
        last, last_used = with_usage(system, requests=part)
    return {
        "first_p50_ms": percentile(first.times_ms, 50),
        "last_p50_ms": percentile(last.times_ms, 50),
        "first_cpu_ms": first_used["cpu_ms"],
        "last_cpu_ms": last_used["cpu_ms"],
    }


_ALL: Final = (
    Case("cold", "the first request after the start of the service", "http", None),
    Case("cold-plugin", "the first request for a plugin without processes", "executor", measure_cold_plugin),
    Case("cold-sdk", "the same with Dify's SDK, and with a sibling that is warm", "executor", measure_cold_sdk),
    Case("hello", "W1: a small GET, 1 client, one request after the other", "all", _hello),
    Case("hello-16", "W1: 16 clients", "http", _hello_many),
    Case("hello-half", "W1: at half the rate of 16 clients, sent at fixed times", "http", _hello_half, "hello-16"),
    Case("stream-8", "W2: 1 KiB of JSON in, 1 MiB out in 64 chunks, 8 clients", "http", _stream),
    Case("upload", "10 MiB in, 1 client", "http", _upload),
    Case("burst", "many W1 at once after rest (200 unless said otherwise)", "http", _burst),
    Case("memory", "spare workers at rest", "executor", _memory),
    Case("imports", "W1: 1 client, a plugin that imports httpx, and one that does not", "executor", measure_imports),
    Case("flights", "W1: 1 to 200 in flight, each with a worker", "executor", measure_flights),
    Case("hooks", "W1: 1 client, 1 hook, and many (100,000 unless said otherwise)", "executor", measure_hooks),
    Case("plugins", "W1: 1 client, one plugin or many (1000 unless said)", "executor", measure_plugins, once=True),
    Case(
        "slow-streams",
        "10 pieces each, many at once (1000 unless said otherwise)",
        "http",
        measure_slow_streams,
        once=True,
    ),
    Case("long", "W1: the first 1000 and the last 1000 of a long run of a new service", "executor", _long, once=True),
)

CASES: Final = {case.name: case for case in _ALL}
"""All cases, in the order in which they are measured."""
