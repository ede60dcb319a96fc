"""Starts the real service as a user would, and speaks to it as clients do."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import yaml

from tests import plain_http
from tests.e2e.raw_connection import RawConnection

__all__ = ["COMMAND", "LAB", "Executor", "until", "wait_below", "wait_ended"]

LAB = Path(__file__).parent.parent / "plugins" / "lab"
"""The plugin whose endpoints behave well, badly and oddly."""

COMMAND = [sys.executable, "-m", "executor"]
START_TIME_S = 240
END_TIME_S = 120
SLOT_DESCRIPTORS = 3
"""What the supervisor has open for a slot: its control socket, and two to hear of its memory running out."""
CONTROL_GROUPS = "/sys/fs/cgroup/"
"""Where files are that it may have open for a slot, some or all of them."""
WORKER_DESCRIPTORS = 4
"""What it has open for a worker."""
PASSING = ("ee-slot", "ee-template", "ee-worker")
"""Names of processes that come and go, spare workers among them."""
JOIN = (
    "import os, sys\nfor one in sys.argv[1].split(','): os.write(int(one), b'0')\nos.execv(sys.argv[2], sys.argv[2:])"
)
"""Joins control groups by files that are open, as the kernel asks for the rights of who opened them; then runs."""


class Executor:
    """One running service.

    Args:
        arguments: Of `executor serve`, besides the port and the state directory.
        config: Content of a configuration file.
        environment: Additional environment variables.
        python: Interpreter to run it with.
        user: Id of the user and group to run it as; the tests' own unless given.
        groups: Further groups; those of the tests unless these or a user are given.
        cgroups: Control groups to start it in, one in each hierarchy; the tests' own unless given.
        state_dir: Its state directory; one that goes with it unless given.
    """

    def __init__(
        self,
        *arguments: str | Path,
        config: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        python: str = sys.executable,
        user: int | None = None,
        groups: Sequence[int] | None = None,
        cgroups: Sequence[Path] = (),
        state_dir: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="executor-test-")
        self.folder = Path(self._folder.name)
        self._user = user
        self._groups = () if groups is None and user is not None else groups
        self._cgroups = cgroups
        if user is not None:
            os.chown(self.folder, user, user)
        self.state_dir = state_dir or self.folder / "state"
        self.log_file = self.folder / "log"
        self.config_file = self.folder / "executor.yaml"
        if config is not None:
            self.write_config(config)
            arguments = ("--config", self.config_file, *arguments)
        self.command = [
            python,
            *COMMAND[1:],
            "serve",
            *(str(argument) for argument in arguments),
            *("--port", "0"),
            *("--state-dir", str(self.state_dir)),
            *("--ready-file", str(self.folder / "ready.json")),
        ]
        self._environment = {**os.environ, "NO_COLOR": "1", **(environment or {})}
        self.process: subprocess.Popen[str]
        self.url = ""
        self.admin = ""

    def __enter__(self) -> Self:
        """Start, and wait until the service says that it is ready."""
        try:
            self.start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._folder.cleanup()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the configuration file."""
        self.config_file.write_text(yaml.safe_dump(config))

    def start(self) -> None:
        """Start the service; `sd_notify` tells when it is ready.

        Raises:
            AssertionError: It ended instead; with its log.
        """
        address = str(self.folder / "notify")
        Path(address).unlink(missing_ok=True)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
            self.log_file.open("w") as log,
            (self.folder / "stdout").open("w") as stdout,
            contextlib.ExitStack() as stack,
        ):
            joined = [stack.enter_context((group / "cgroup.procs").open("w")).fileno() for group in self._cgroups]
            join = [self.command[0], "-I", "-S", "-c", JOIN, ",".join(map(str, joined))] if joined else []
            manager.bind(address)
            Path(address).chmod(0o777)
            self.process = subprocess.Popen(
                [*join, *self.command],
                stdout=stdout,
                stderr=log,
                pass_fds=joined,
                env={**self._environment, "NOTIFY_SOCKET": address},
                text=True,
                start_new_session=True,
                cwd=self.folder,
                user=self._user,
                group=self._user,
                extra_groups=self._groups,
            )
            ended = os.pidfd_open(self.process.pid)
            try:
                said = ""
                while "READY=1" not in said:  # it may tell of the environments that it builds first
                    readable, _, _ = select.select([manager.fileno(), ended], [], [], START_TIME_S)
                    assert manager.fileno() in readable, f"the service did not start:\n{self.log_text()}"
                    said = manager.recv(4096).decode()
            finally:
                os.close(ended)
        ready = json.loads((self.folder / "ready.json").read_text())
        self.url, self.admin = ready["public"], ready["admin"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(END_TIME_S)

    @property
    def stdout(self) -> str:
        """What the service printed."""
        return (self.folder / "stdout").read_text()

    def log_text(self) -> str:
        """Everything that the service logged."""
        return self.log_file.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of one name, of the lines that are written in full."""
        written = self.log_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def invocation(self, invocation_id: str) -> dict[str, Any]:
        """The figures of one finished invocation, waiting until they are logged."""
        return self.wait_event("invocation", invocation_id=invocation_id)

    def wait_event(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait for an event of the log."""
        for _ in until(120):
            for event in self.events(name):
                if all(event.get(field) == value for field, value in fields.items()):
                    return event
        raise AssertionError(f"no {name} {fields} in:\n{self.log_text()[-4000:]}")

    def own_failures(self) -> list[str]:
        """The log's lines that tell of exceptions of ours, not of an endpoint's."""
        signs = ("invocation.failed", "Traceback", "Exception in", "never retrieved", "ASGI callable", "exc_type")
        lines = [line for line in self.log_text().splitlines() if any(sign in line for sign in signs)]
        return [line for line in lines if '"logger": "executor.endpoint"' not in line]

    def wait_refused(self, text: str) -> str:
        """Wait until a reload was refused for a problem with this text in it."""
        for _ in until(120):
            for event in self.events("service.reload_refused"):
                if text in event["problem"]:
                    return str(event["problem"])
        raise AssertionError(f"no problem with {text!r} in:\n{self.log_text()[-4000:]}")

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client whose base is the lab's hook."""
        return plain_http.client(base_url=f"{self.url}/e/lab", **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path of the lab."""
        with self.client() as client:
            return client.get(path, **options)

    def raw(self) -> RawConnection:
        """A plain TCP connection to the public listener."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return RawConnection(socket.create_connection((host, int(port)), timeout=120))

    def workers(self) -> list[dict[str, Any]]:
        """The live workers, as the admin listener tells them."""
        workers: list[dict[str, Any]] = plain_http.get(f"{self.admin}/workers").json()["workers"]
        return workers

    def wait_workers(self, count: int, **fields: object) -> list[dict[str, Any]]:
        """Wait until so many workers with these fields live."""
        for _ in until(60):
            found = [one for one in self.workers() if all(one.get(name) == value for name, value in fields.items())]
            if len(found) == count:
                return found
        raise AssertionError(f"not {count} workers {fields}: {self.workers()}")

    def processes(self) -> list[psutil.Process]:
        """The service's process and all below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def named(self, name: str) -> list[psutil.Process]:
        """Processes below the service whose names begin with this, such as `ee-slot`."""
        found = []
        for process in self.processes()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith(name):
                    found.append(process)
        return found

    def wait_named(self, name: str, count: int) -> None:
        """Wait until so many processes have a name that begins with this."""
        for _ in until(120):
            if len(self.named(name)) == count:
                return
        raise AssertionError(f"not {count} processes named {name}: {self.named(name)}")

    def resting_processes(self) -> set[int]:
        """Process ids once no worker is left but spare ones: the supervisor and its zygotes; slots come and go."""
        resting: set[int] = set()
        for _ in until(60):
            passing = {one.pid for name in PASSING for one in self.named(name)}
            resting = {process.pid for process in self.processes()} - passing
            alone = not self.workers() and len(self.named("ee-worker")) == self.spares()
            if alone and len(resting) == self.resting_count:
                break
        return resting

    def spares(self) -> int:
        """How many spare workers there are."""
        text = plain_http.get(f"{self.admin}/metrics").text
        sample = 'executor_slots{state="spare"} '
        return int(float(text.partition(sample)[2].partition("\n")[0] or 0))

    resting_count = 3
    """Supervisor, base zygote, and one plugin zygote."""

    def wait_metric(self, sample: str, value: float) -> None:
        """Wait until the admin listener shows a sample, such as `executor_slots{state="idle"}`, with this value."""
        text = ""
        for _ in until(120):
            text = plain_http.get(f"{self.admin}/metrics").text
            if f"{sample} {value:.1f}\n" in text:
                return
        raise AssertionError(f"{sample} is not {value} in:\n{text}")

    def descriptors(self) -> int:
        """How many descriptors the supervisor has open, those for its slots and spare workers left out."""
        others = SLOT_DESCRIPTORS * len(self.named("ee-slot")) + WORKER_DESCRIPTORS * self.spares()
        opened = (_read_link(link) for link in Path(f"/proc/{self.process.pid}/fd").iterdir())
        return sum(not name.startswith(CONTROL_GROUPS) for name in opened) - others

    def resting_descriptors(self) -> int:
        """The same, once nothing changes any more: slots and spares that come or go are half there."""
        seen: list[int] = []
        for _ in until(60):
            seen = [*seen[-4:], self.descriptors()]
            if len(seen) == 5 and len(set(seen)) == 1:
                break
        return seen[-1]

    def wait_descriptors(self, most: int) -> None:
        """Wait until there are so many descriptors at most, those for slots and spare workers left out."""
        for _ in until(60):
            if self.descriptors() <= most:
                return
        opened = sorted(_read_link(link) for link in Path(f"/proc/{self.process.pid}/fd").iterdir())
        raise AssertionError(f"{self.descriptors()} descriptors, more than {most}: {opened}")


def _read_link(link: Path) -> str:
    """What a descriptor is; nothing where it has been closed meanwhile."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def wait_below(pid: int, count: int) -> list[psutil.Process]:
    """Wait until a process has so many below it."""
    for _ in until(120):
        below = psutil.Process(pid).children(recursive=True)
        if len(below) == count:
            return below
    raise AssertionError(f"not {count} processes below {pid}")


def wait_ended(processes: Sequence[psutil.Process]) -> None:
    """Wait until none of these processes runs; whether its parent has been told does not matter."""
    running = list(processes)
    for _ in until(120):
        running = [one for one in running if runs(one)]
        if not running:
            return
    raise AssertionError(f"still running: {running}")


def runs(process: psutil.Process) -> bool:
    """Whether a process runs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def until(seconds: float) -> Iterator[None]:
    """Let a loop look again and again, for so long; the process looked at cannot wake us."""
    waiter = select.poll()
    for _ in range(int(seconds / 0.02)):
        yield
        waiter.poll(20)
