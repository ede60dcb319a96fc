"""What is measured against each other: our service, and what there is instead of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, Final, final

from tests.bench.sdk import ROOT, SdkError, provide_sdk_venv
from tests.bench.workloads import PLUGIN, Workload, http_request, sdk_request
from tests.e2e.harness import Executor

__all__ = [
    "SYSTEMS",
    "DirectSystem",
    "HttpSystem",
    "OurService",
    "Unavailable",
    "create_system",
]

START_TIME_S: Final = 120.0
START_PAUSE_S: Final = 0.005
END_TIME_S: Final = 20.0

SYSTEMS: Final = {
    "executor": "our service: `executor serve`, all isolation on",
    "in-process": "the same endpoints called in the server's own process, by the same code; no isolation",
    "fork": "the floor: a warm parent forks for each request; no HTTP, no isolation",
    "fresh": "a new interpreter (`python -I`) for each request; no HTTP, no isolation",
    "bwrap": "the same under bubblewrap; no HTTP",
    "sdk": "Dify's own SDK in its serverless mode: one long-lived process; no isolation",
}
"""Names and meanings, in the order of the table."""


class Unavailable(Exception):  # noqa: N818 - it is not an error, it is a reason to leave something out
    """A system cannot be had on this machine; the text says why, and how to get it."""


class HttpSystem(ABC):
    """A system that listens on a port; a context while it runs.

    Attributes:
        name: As in `SYSTEMS`.
        port: Where it listens, on this machine.
        start_s: How long it took from the start to where it answers connections.
    """

    name: str
    port: int = 0
    start_s: float = 0.0

    @abstractmethod
    def start(self) -> None:
        """Start it; it listens afterwards."""

    @abstractmethod
    def stop(self) -> None:
        """End it, and everything below it."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The root of its processes."""

    def request(self, workload: Workload) -> bytes:
        """A request, as it goes over the wire."""
        return http_request(workload)

    def content(self, workload: Workload) -> tuple[str, int]:
        """What the answer has near its beginning, and its least size."""
        return workload.content.decode(), workload.size


@final
class OurService(HttpSystem):
    """`executor serve`, as a user starts it.

    Args:
        config: Content of its configuration file; the plugin and nothing else unless given.
        state_dir: Its state folder; one that goes with it unless given.

    Attributes:
        hook: The hook that is called.
    """

    name = "executor"

    def __init__(self, config: dict[str, Any] | None = None, *, state_dir: Path | None = None) -> None:
        self.hook = "bench"
        self._config = {"plugins": [str(PLUGIN)]} if config is None else config
        self._state_dir = state_dir
        self._executor: Executor

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        begun = time.monotonic()
        self._executor = Executor(config=self._config, state_dir=self._state_dir)
        self._executor.__enter__()
        self.start_s = time.monotonic() - begun
        self.port = int(self._executor.url.rpartition(":")[2])

    def stop(self) -> None:
        """End it."""
        self._executor.__exit__(None, None, None)

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self._executor.process.pid

    @property
    def admin_url(self) -> str:
        """Its admin listener."""
        return self._executor.admin

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of one name."""
        return self._executor.events(name)

    def request(self, workload: Workload) -> bytes:
        """A request to the hook."""
        return http_request(workload, prefix=f"/e/{self.hook}")


class _Program(HttpSystem):
    """A system that is one command; it is up when its port takes a connection."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str]
        self._folder = tempfile.TemporaryDirectory(prefix="executor-bench-")

    @property
    def folder(self) -> Path:
        """A folder of its own, removed at the end."""
        return Path(self._folder.name)

    @property
    def log(self) -> Path:
        """What it wrote to standard error."""
        return self.folder / "log"

    @property
    def pid(self) -> int:
        """The command's process."""
        return self._process.pid

    @abstractmethod
    def launch(self, log: IO[str]) -> subprocess.Popen[str]:
        """Start the command and find out its port."""

    def start(self) -> None:
        """Start the command and wait until it listens.

        Raises:
            RuntimeError: It ended, or did not listen for long.
        """
        begun = time.monotonic()
        with self.log.open("w") as log:
            self._process = self.launch(log)
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() - begun > START_TIME_S:
                self.stop()
                raise RuntimeError(f"{self.name} did not start")
            time.sleep(START_PAUSE_S)
        self.start_s = time.monotonic() - begun

    def stop(self) -> None:
        """End it, and what is in its session."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(END_TIME_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def _listens(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0


@final
class InProcess(_Program):
    """The endpoints in a server's own process."""

    name = "in-process"

    def launch(self, log: IO[str]) -> subprocess.Popen[str]:
        """Start it; it prints its port."""
        command = [sys.executable, "-m", "tests.bench.in_process"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, start_new_session=True
        )
        assert process.stdout is not None
        self.port = int(process.stdout.readline() or 0)
        return process


@final
class Sdk(_Program):
    """Dify's SDK in its serverless mode.

    Args:
        python: An interpreter that has it.
    """

    name = "sdk"

    def __init__(self, python: Path) -> None:
        super().__init__()
        self._python = python

    def launch(self, log: IO[str]) -> subprocess.Popen[str]:
        """Start the plugin as Dify does, on a port that was free a moment ago."""
        plugin = self.folder / "plugin"
        shutil.copytree(PLUGIN, plugin, ignore=shutil.ignore_patterns("__pycache__"))
        with socket.create_server(("127.0.0.1", 0)) as trial:
            self.port = trial.getsockname()[1]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "INSTALL_METHOD": "serverless",
            "SERVERLESS_HOST": "127.0.0.1",
            "SERVERLESS_PORT": str(self.port),
        }
        command = [str(self._python), "-m", "main"]
        return subprocess.Popen(
            command, stdout=log, stderr=log, text=True, cwd=plugin, env=environment, start_new_session=True
        )

    def request(self, workload: Workload) -> bytes:
        """A request as Dify's daemon sends it."""
        return sdk_request(workload)

    def content(self, workload: Workload) -> tuple[str, int]:
        """The body is in hexadecimal, within JSON."""
        return workload.content.hex(), 2 * workload.size


@final
class DirectSystem:
    """A system without HTTP.

    Args:
        name: As in `SYSTEMS`, and of a kind of `tests.bench.direct`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def measure(self, *, requests: int, seconds: float) -> dict[str, Any]:
        """Answer one request after the other; see `tests.bench.direct.measure`."""
        command = [sys.executable, "-m", "tests.bench.direct", self.name, str(requests), str(seconds)]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout
        figures: dict[str, Any] = json.loads(output)
        return figures


def create_system(name: str, sdk_python: str | None) -> HttpSystem | DirectSystem:
    """Make a system, not started.

    Args:
        name: As in `SYSTEMS`.
        sdk_python: The interpreter for the SDK; None for any.

    Raises:
        Unavailable: It cannot be had here.
    """
    if name == "executor":
        return OurService()
    if name == "in-process":
        return InProcess()
    if name == "sdk":
        try:
            return Sdk(provide_sdk_venv(sdk_python))
        except SdkError as error:
            raise Unavailable(str(error)) from error
    if name == "bwrap":
        _try_bubblewrap()
    return DirectSystem(name)


def _try_bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        raise Unavailable("bubblewrap is not installed (Debian, Ubuntu: apt-get install bubblewrap)")
    trial = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise Unavailable(f"bubblewrap does not work here: {tried.stderr.strip()}")
