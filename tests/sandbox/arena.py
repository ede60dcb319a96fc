"""A service with many hooks of the hostile plugin, each with limits of its own, and requests side by side."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import httpx
import psutil
import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.environments import python_for
from tests.sandbox.deeds import DeedRecord

__all__ = ["PATIENCE", "Arena", "Batch", "chosen", "lasting", "open_arena", "wait_until"]

Key = TypeVar("Key")
Value = TypeVar("Value")

OWN_PROCESSES: Final = ("ee-zygote", "ee-slot", "ee-template")
"""Names of the processes below the supervisor that outlive a worker."""

PATIENCE: Final = float(os.environ.get("SANDBOX_PATIENCE", "1"))
"""By how much all times are longer, for machines that are slow or busy."""

TIME_S: Final = 300 * PATIENCE
"""Longest wait for an answer: longer than any limit that the tests set."""


class Arena:
    """One running service.

    Args:
        executor: The service.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.client = plain_http.client(
            base_url=f"{executor.url}/e",
            timeout=TIME_S,
            limits=httpx.Limits(max_keepalive_connections=0),  # the server may end an idle one just when it is used
        )
        self.pid = executor.process.pid

    def post(self, hook: str, path: str, target: Mapping[str, object] | None = None) -> httpx.Response:
        """Ask a hook for something, with the target as the body."""
        return self.client.post(f"/{hook}{path}", json=dict(target or {}))

    def do(self, hook: str, deed: DeedRecord, target: Mapping[str, object] | None = None) -> httpx.Response:
        """Have a deed done by a worker of this hook."""
        return self.post(hook, f"/deed/{deed.area}/{deed.name}", target)

    def hello(self, hook: str = "hostile", text: str = "there", time_s: float = 55) -> str:
        """Make a harmless request; what was answered."""
        answer = self.client.post(f"/{hook}/hello", content=text, timeout=time_s * PATIENCE)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.text

    def outcome(self, answer: httpx.Response) -> str:
        """Tell how an invocation ended, when it has."""
        return str(self.executor.invocation(answer.headers["x-invocation-id"])["outcome"])

    def strangers(self) -> list[str]:
        """Name all processes below the service that are neither zygotes nor slots nor templates."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if not process.name().startswith(OWN_PROCESSES):
                    found.append(f"{process.pid} {process.name()} {process.status()}")
        return found

    def wait_alone(self, time_s: float = 1) -> None:
        """Wait until nothing of a worker is left."""
        self.executor.wait_workers(0)
        wait_until(lambda: not self.strangers(), time_s, self.strangers)

    def memory(self) -> int:
        """Resident bytes of the supervisor."""
        return int(psutil.Process(self.pid).memory_info().rss)


class Batch(Generic[Key, Value]):
    """Does the same with many things, some of them side by side, and keeps what came of it.

    Args:
        ask: What is done.
        things: With what.
        side_by_side: How many at a time.
    """

    def __init__(self, ask: Callable[[Key], Value], things: Sequence[Key], side_by_side: int = 4) -> None:
        self._pool = ThreadPoolExecutor(side_by_side)
        self._results: list[tuple[Key, Future[Value]]] = [(one, self._pool.submit(ask, one)) for one in things]

    def result(self, thing: Key) -> Value:
        """Wait for what came of one thing."""
        return next(future for one, future in self._results if one == thing).result()

    def close(self) -> None:
        """Wait for all."""
        self._pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def open_arena(
    plugins: Path,
    hooks: Mapping[str, Mapping[str, object]],
    *,
    user: int | None = None,
    off: Sequence[str] = (),
    limits: Mapping[str, object] | None = None,
    plugin_names: Sequence[str] = ("hostile",),
    cgroups: Sequence[Path] = (),
    worker: Mapping[str, object] | None = None,
) -> Iterator[Arena]:
    """Start a service without spare workers, so that whatever worker there is belongs to a request.

    Args:
        plugins: Folder of `open_plugins`.
        hooks: Limits by hook; all of them are of the hostile plugin. A hook `hostile` is added if there is none, and
            `lab` where there is that plugin.
        user: As whom; the tests' own unless given.
        off: Layers to switch off.
        limits: Of all hooks.
        plugin_names: Folders of plugins.
        cgroups: Control groups to start it in, one in each hierarchy; the tests' own unless given.
        worker: How long workers live; for one request unless given.
    """
    config: dict[str, Any] = {
        "plugins": [str(plugins / name) for name in plugin_names],
        "hooks": {
            **{name: {} for name in plugin_names},
            **{name: {"plugin": "hostile", "limits": dict(given)} for name, given in hooks.items()},
        },
        "limits": {"cancel_grace_time": "100ms", **(limits or {})},
        "isolation": {"off": list(off)},
        "spares": {"total": 0},
        "worker": dict(worker or {}),
    }
    python = sys.executable if user is None else python_for(plugins.parent)
    executor = Executor(config=config, python=python, user=user, cgroups=cgroups)
    if user is not None:
        os.chown(executor.config_file, user, user)
    with executor:
        arena = Arena(executor)
        with arena.client:
            yield arena


def lasting(seconds: float) -> str:
    """Write a duration for the configuration, longer on a slow machine."""
    return f"{round(seconds * PATIENCE * 1000)}ms"


def wait_until(test: Callable[[], object], time_s: float, tell: Callable[[], object] = str) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: It was not so in time.
    """
    waiter, deadline = select.poll(), time.monotonic() + time_s * PATIENCE
    while not test():
        assert time.monotonic() < deadline, f"not within {time_s} s: {tell()}"
        waiter.poll(10)


def chosen(request: pytest.FixtureRequest, *parameters: str, function: str = "") -> list[Any]:
    """Find the values of parameters in those tests of the module that will run.

    Args:
        request: Of a fixture of the module.
        parameters: Their names; of each test, the first that it has.
        function: Only of tests by this function.
    """
    found: dict[str, Any] = {}
    for item in request.session.items:
        if not isinstance(item, pytest.Function) or item.module is not request.module or not hasattr(item, "callspec"):
            continue
        if not function or item.function.__name__ == function:
            found |= {
                str(item.callspec.params[name]): item.callspec.params[name]
                for name in parameters
                if name in item.callspec.params
            }
    return list(found.values())
