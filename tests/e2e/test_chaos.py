"""Clients that misbehave, processes that are killed, and reloads, all at once: what is answered, and what is left.

Nobody is told what happens when. So each answer may be what it is on a good day, or what a lost process makes of it,
and nothing else; nobody waits for ever; and at rest everything is as it was before.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import PASSING, Executor
from tests.e2e.test_lifecycle import copy_lab

pytestmark = pytest.mark.e2e

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
CLIENTS: Final = 12
REQUESTS: Final = 300
"""Of each client."""

STORE_DESCRIPTORS: Final = 4
"""What two more connections to the store have open: it keeps some, which are made when they are needed."""

HOOKS: Final[dict[str, dict[str, Any]]] = {
    "lab": {},
    "hasty": {"plugin": "lab", "limits": {"first_byte_time": "2s", "client_idle_time": "2s"}},
    "kept": {"plugin": "lab", "worker": {"max_invocations": 6, "idle_time": "2s"}},
    "late": {"plugin": "lab", "worker": {"after_response": "500ms"}},
    "cat": {"plugin": "rainbow_cat", "settings": {"webhook_secret": "s"}},
    "talk": {"plugin": "talking_cat", "settings": {"app": {"app_id": "cat-app"}}},
}
CALM: Final = {"lab": "/status/200", "kept": "/count", "late": "/status/200", "hasty": "/status/200", "cat": "/duck/x"}
"""What each hook answers with 200."""

VICTIMS: Final = ("ee-slot", "ee-template", "ee-worker", "ee-slot", "ee-template", "ee-worker", "ee-zygote")
"""Names of processes; zygotes, which take others with them, less often."""

LOST: Final = {"502", "RemoteProtocolError"}
"""What comes of a request whose worker, slot or zygote is killed: an answer that says so, or one that is cut."""

GAUGES: Final = (
    *(f'executor_slots{{state="{state}"}}' for state in ("idle", "spare", "kept", "busy")),
    "executor_queue_length",
    "executor_reverse_calls_in_flight",
)

Kind = Callable[["Chaos", httpx.Client, random.Random], str]


def get(path: str) -> Kind:
    """Ask for something."""
    return lambda chaos, client, _: str(client.get(chaos.executor.url + path).status_code)


def post(path: str, size: int, **headers: str) -> Kind:
    """Send a body."""
    return lambda chaos, client, _: str(
        client.post(chaos.executor.url + path, content=b"x" * size, headers=headers).status_code
    )


def leave(head: bytes, *, most: float = 0.3) -> Kind:
    """Send this, read a little perhaps, and leave: by a reset, by closing one half, or both."""

    def run(chaos: Chaos, _: httpx.Client, rng: random.Random) -> str:
        with chaos.executor.raw() as connection, contextlib.suppress(TimeoutError, ConnectionError):
            connection.send(head)
            connection.sock.settimeout(rng.uniform(0, most))
            connection.sock.recv(rng.choice((1, 4096, 1 << 20)))
            way = rng.randrange(3)
            if way == 0:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif way == 1:
                connection.sock.shutdown(socket.SHUT_WR)
                connection.sock.settimeout(60)
                connection.read_all()
        return "left"

    return run


KINDS: Final[dict[str, tuple[Kind, set[str]]]] = {
    "small": (get("/e/lab/status/200"), {"200"}),
    "duck": (get("/e/cat/duck/x"), {"200"}),
    "kept": (get("/e/kept/count"), {"200"}),
    "late": (get("/e/late/status/200"), {"200"}),
    "error": (get("/e/lab/raise/runtime"), {"500"}),
    "crash": (get("/e/lab/die/kill"), {"502"}),
    "timeout": (get("/e/hasty/wait/5"), {"504"}),
    "stream": (get("/e/lab/stream/50/4096"), {"200"}),
    "chat": (post("/e/talk/chat", 5), {"200"}),
    "echo": (post("/e/lab/echo", 300_000), {"200"}),
    "too large": (post("/e/lab/echo", 3 << 20, Connection="close"), {"413"}),
    "leaves early": (leave(b"GET /e/lab/wait/1 HTTP/1.1\r\nHost: h\r\n\r\n"), {"left"}),
    "leaves a stream": (leave(b"GET /e/lab/stream/2000/4096 HTTP/1.1\r\nHost: h\r\n\r\n"), {"left"}),
    "reads slowly": (leave(b"GET /e/hasty/stream/900/65536 HTTP/1.1\r\nHost: h\r\n\r\n", most=3), {"left"}),
    "stops sending": (
        leave(b"POST /e/hasty/echo HTTP/1.0\r\nContent-Length: 9\r\n\r\nabc", most=3),
        {"left"},
    ),
    "half a head": (leave(b"GET /e/la"), {"left"}),
    "pipelines": (leave(b"GET /e/lab/status/200 HTTP/1.1\r\nHost: h\r\n\r\n" * 6), {"left"}),
}


class Chaos:
    """A service in which everything happens at once.

    Args:
        executor: The service.
        plugins: Folders that may be changed.
        seed: Of all that is chosen.
    """

    def __init__(self, executor: Executor, plugins: list[Path], seed: int) -> None:
        self.executor = executor
        self._plugins = plugins
        self._seed = seed
        self._over = threading.Event()

    def run(self, requests: int) -> Counter[tuple[str, str]]:
        """Have each client make so many requests; what came of them."""
        breaker = threading.Thread(target=self._break)
        breaker.start()
        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                return sum(pool.map(self._ask, [requests] * CLIENTS, range(CLIENTS)), Counter[tuple[str, str]]())
        finally:
            self._over.set()
            breaker.join()

    def _ask(self, requests: int, number: int) -> Counter[tuple[str, str]]:
        rng = random.Random(self._seed * 100 + number)
        told = Counter[tuple[str, str]]()
        with plain_http.client(timeout=120) as client:
            for _ in range(requests):
                name = rng.choice([*KINDS])
                try:
                    told[name, KINDS[name][0](self, client, rng)] += 1
                except httpx.HTTPError as error:
                    told[name, type(error).__name__] += 1
        return told

    def _break(self) -> None:
        """Kill a process, or have the service reload, again and again."""
        rng = random.Random(self._seed)
        while not self._over.wait(rng.uniform(0.03, 0.3)):
            if rng.random() < 0.05:
                (rng.choice(self._plugins) / "changed.py").write_text(f"number = {rng.random()}\n")
                self.executor.process.send_signal(signal.SIGHUP)
            elif found := self.executor.named(rng.choice(VICTIMS)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(found).pid, signal.SIGKILL)


def groups_of(pid: int) -> list[str]:
    """The control groups of a service."""
    return [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/endpoint-executor-{pid}-*/")]


def rest(executor: Executor) -> Counter[str]:
    """Wait until there is nothing but what is always there, slots that nobody needs being ended; it, by names."""
    executor.wait_workers(0)
    for name in PASSING:
        executor.wait_named(name, 0)
    for gauge in GAUGES:
        executor.wait_metric(gauge, 0)
    return Counter(process.name() for process in executor.processes())


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once(tmp_path: Path, seed: int) -> None:
    """Everybody is answered as on a good day, or told that a process was lost; at rest all is as it was before."""
    plugins = [copy_lab(tmp_path)]
    for name in ("rainbow_cat", "talking_cat"):
        plugins.append(tmp_path / name)
        plugins[-1].symlink_to(EXAMPLES / name)
    config = {
        "plugins": [str(plugin) for plugin in plugins],
        "hooks": HOOKS,
        "limits": {"cancel_grace_time": "100ms", "queue_length": 200, "request_body": "1 MiB"},
        "admission": {"concurrency": 16, "queue_time": "60s", "queue_length": 200},
        "reverse": {"target": "fixtures", "fixtures": str(EXAMPLES / "talking_cat" / "fixtures.yaml")},
        "spares": {"idle_time": "3s"},
    }
    with Executor(config=config) as executor, plain_http.client() as client:
        for kind, (ask, expected) in KINDS.items():
            assert ask(Chaos(executor, [], 0), client, random.Random(seed)) in expected, kind
        before = rest(executor)
        descriptors = executor.resting_descriptors()
        told = Chaos(executor, plugins[:1], seed).run(REQUESTS)
        assert sum(told.values()) == REQUESTS * CLIENTS
        assert {one: count for one, count in told.items() if one[1] not in KINDS[one[0]][1] | LOST} == {}
        for hook, path in CALM.items():
            assert client.get(f"{executor.url}/e/{hook}{path}").status_code == 200, hook
        assert client.post(f"{executor.url}/e/talk/chat", content=b"hi").status_code == 200
        assert rest(executor) == before
        executor.wait_descriptors(descriptors + STORE_DESCRIPTORS)
        assert executor.own_failures() == []
        processes = executor.processes()
        assert executor.stop() == 0
        assert not [process for process in processes if process.is_running()]
        assert groups_of(executor.process.pid) == []
