"""What a process for each request costs at least, without HTTP: `python -m tests.bench.direct KIND REQUESTS SECONDS`.

fork    a warm parent forks for each request: a pipe, the endpoint in the child, `os._exit`, `wait4`. The floor for
        everything that gives each request a process of its own: nothing is isolated, and the endpoint is imported and
        has been called in the parent.
fresh   a new interpreter for each request, which imports werkzeug and the endpoint
bwrap   the same, put into namespaces by bubblewrap

One request after the other. The figures go to standard output, in JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench.handler import BytesSource, answer_with, load_endpoint, make_invoke
from tests.bench.processes import Usage
from tests.bench.workloads import HELLO
from worker.kernel import adopt_orphans

__all__ = ["BWRAP", "FRESH", "fork_for_one", "measure"]

FRESH: Final = [sys.executable, "-I", str(Path(__file__).with_name("one_request.py"))]
BWRAP: Final = [
    "bwrap",
    *("--unshare-all", "--die-with-parent", "--new-session"),
    *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
    *FRESH,
]


def fork_for_one(endpoint: Any) -> bytes:
    """Answer one request in a child; the body."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for piece in answer_with(endpoint, make_invoke(HELLO), BytesSource(b"")).body:
                os.write(write_fd, piece)
            status = 0
        finally:
            os._exit(status)
    os.close(write_fd)
    pieces = []
    while piece := os.read(read_fd, 65536):
        pieces.append(piece)
    os.close(read_fd)
    _, status, _ = os.wait4(pid, 0)
    if status != 0:
        raise ChildProcessError(f"the child ended with {status}")
    return b"".join(pieces)


def measure(run: Callable[[], bytes], requests: int, seconds: float) -> dict[str, Any]:
    """Run one after the other.

    Args:
        run: Answers one request.
        requests: How many at most; 0: any number.
        seconds: For how long at most; 0: until all are done.

    Returns:
        `times_ms`, and per request `cpu_ms` and `minor_faults`, of this process and its children.

    Raises:
        ValueError: An answer was not the right one.
    """
    for _ in range(3):
        run()
    times_ms: list[float] = []
    before = _used()
    until = time.monotonic() + (seconds or 1e9)
    while len(times_ms) < (requests or 1e9) and (time.monotonic() < until or not times_ms):
        begun_ns = time.monotonic_ns()
        body = run()
        times_ms.append((time.monotonic_ns() - begun_ns) / 1e6)
        if body != HELLO.content:
            raise ValueError(f"not the right answer: {body!r}")
    used = _used() - before
    count = len(times_ms)
    return {"times_ms": times_ms, "cpu_ms": used.cpu_s * 1000 / count, "minor_faults": used.minor_faults / count}


def _used() -> Usage:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Usage(sum(one.ru_utime + one.ru_stime for one in usages), sum(one.ru_minflt for one in usages))


def _start_for_one(command: list[str]) -> Callable[[], bytes]:
    def run() -> bytes:
        output = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True).stdout
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # bubblewrap does not await the process that it was for, which would not be counted then
        return output

    return run


def main() -> None:
    """Measure one kind."""
    kind, requests, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    adopt_orphans()
    endpoint = load_endpoint(HELLO)
    runs: dict[str, Callable[[], bytes]] = {
        "fork": lambda: fork_for_one(endpoint),
        "fresh": _start_for_one(FRESH),
        "bwrap": _start_for_one(BWRAP),
    }
    list(answer_with(endpoint, make_invoke(HELLO), BytesSource(b"")).body)  # what is imported late is, before any fork
    gc.collect()
    gc.freeze()
    gc.disable()
    json.dump(measure(runs[kind], requests, seconds), sys.stdout)


if __name__ == "__main__":
    main()
