"""What the tests of the figures have in common: invocations, workers, a running admin listener."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import uvicorn

from executor.figures.admin import create_admin_app
from executor.figures.figures import Figures, StartTimes
from executor.figures.live import LiveWorker, Snapshot
from executor.figures.registry import Registry
from executor.outcome import Outcome

__all__ = ["IDLE", "figures", "running_admin", "worker"]

_FIGURES = Figures(
    invocation_id="0193a5f0-0000-7000-8000-000000000001",
    hook_id="cat",
    plugin="rainbow_cat",
    method="GET",
    rule="/duck/<app_id>",
    outcome=Outcome.OK,
    status=200,
    started_at=1_700_000_000.25,
    queue_s=0.001,
    ready_s=0.003,
    first_byte_s=0.01,
    duration_s=0.02,
    cpu_user_s=0.25,
    cpu_system_s=0.125,
    max_rss_bytes=32 * 1024**2,
    minor_faults=300,
    major_faults=2,
    bytes_in=100,
    bytes_out=1000,
    pid=4711,
    exit="exit 0",
    log_records=3,
    log_dropped_bytes=7,
    detail="",
    spare=True,
    start=StartTimes(slot_s=0.5, fork_s=0.004, load_s=0.002),
)
_WORKER = LiveWorker(
    pid=1,
    invocation_id="0193a5f0-0000-7000-8000-000000000001",
    hook_id="cat",
    plugin="rainbow_cat",
    rule="/duck/<app_id>",
    method="GET",
    state="running",
    age_s=1.5,
    bytes_in=10,
    bytes_out=2048,
)
IDLE = Snapshot(workers=(), slots={"idle": 0, "busy": 0}, queued=0, ready=True, reasons=(), draining=False)


def figures(**changes: Any) -> Figures:
    """The figures of an invocation that went well, with changes."""
    return replace(_FIGURES, **changes)


def worker(**changes: Any) -> LiveWorker:
    """A live worker, with changes."""
    return replace(_WORKER, **changes)


@contextlib.contextmanager
def running_admin(registry: Registry, snapshot: Callable[[], Snapshot]) -> Iterator[str]:
    """Run the admin listener in a thread; yields its URL."""
    config = uvicorn.Config(create_admin_app(registry, snapshot), port=0, log_config=None, access_log=False)
    started = threading.Event()

    class Serving(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Serving(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
