"""Services that the attacks run in, with lures around them and canaries in them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from tests import plain_http
from tests.e2e.harness import LAB, Executor
from tests.environments import python_for
from tests.sandbox.attacks import HOSTILE, AttackRecord
from tests.sandbox.lures import Lures

__all__ = ["GROUP", "Service", "open_plugins", "start"]

GROUP: Final = 65533
"""A group that whoever starts something as root is in as well, and that must not be handed down."""

ENVIRONMENT: Final = "SANDBOX_CANARY"


def canary(place: str) -> str:
    """Make a text that is found again; the plugin's `secrets.py` knows what it looks like, but not this one."""
    return f"CANARY-{place}-{secrets.token_hex(8)}"


@contextlib.contextmanager
def open_plugins() -> Iterator[Path]:
    """Copy the plugins to where every user may read them; no attack reaches the originals."""
    with tempfile.TemporaryDirectory(prefix="sandbox-plugins-") as name:
        folder = Path(name) / "plugins"
        for plugin in (HOSTILE, LAB):
            shutil.copytree(plugin, folder / plugin.name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder.parent, folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder


class Service:
    """The executor with the hostile plugin, and another tenant next to it.

    Attributes:
        executor: The running service.
        plugins: Where its plugins are.
        lures: What is around it.
        python: The interpreter that runs it.
        environment: With which it was started.
    """

    def __init__(self, executor: Executor, plugins: Path, lures: Lures) -> None:
        self.executor, self.plugins, self.lures = executor, plugins, lures
        self.python = executor.command[0]
        self.environment = executor._environment
        self.client = plain_http.client(base_url=f"{executor.url}/e/hostile")
        self.pid = executor.process.pid

    def close(self) -> None:
        """Close the client; the service itself is the caller's."""
        self.client.close()

    def target(self) -> dict[str, Any]:
        """Tell attackers all that they could wish to know, so that nothing is contained by their ignorance."""
        executor, lures = self.executor, self.lures
        processes = [process.pid for process in executor.processes()]
        return {
            "supervisor": self.pid,
            "processes": [pid for pid in processes if pid != self.pid],
            "public": _address(executor.url),
            "admin": _address(executor.admin),
            "folder": str(executor.folder),
            "config": str(executor.config_file),
            "secret_file": str(executor.folder / "secret"),
            "log": str(executor.log_file),
            "state_dir": str(executor.state_dir),
            "home": str(Path.home()),
            "host_name": socket.gethostname(),
            "other_plugin": str(self.plugins / "lab" / "manifest.yaml"),
            "lures": str(lures.folder),
            "socket": str(lures.socket),
            "abstract": lures.abstract,
            "udp": lures.udp_port,
            "sysv_key": lures.key,
            "queue": lures.queue,
            "tmp_file": str(lures.file),
            "shm_file": str(lures.shared_file),
        }

    def post(self, path: str) -> httpx.Response:
        """Ask the hostile plugin for something, with the target as the body."""
        return self.client.post(path, json=self.target())

    def attack(self, attack: AttackRecord) -> httpx.Response:
        """Have an attack run in a worker."""
        return self.post(f"/attack/{attack.area}/{attack.name}")

    def lives(self) -> bool:
        """Whether the supervisor is still the same process."""
        return self.executor.process.poll() is None

    def memory(self) -> int:
        """Resident bytes of the supervisor."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def hello(self, text: str = "", time_s: float = 30) -> str:
        """Make a harmless request; what was answered."""
        return self.client.post("/hello", content=text, timeout=time_s).raise_for_status().text


def _address(url: str) -> list[object]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return [host, int(port)]


@contextlib.contextmanager
def start(
    plugins: Path,
    lures: Lures,
    *,
    off: Sequence[str] = (),
    limits: Mapping[str, object] | None = None,
    user: int | None = None,
    environment: Path | None = None,
) -> Iterator[Service]:
    """Start a service.

    Args:
        plugins: Folder of `open_plugins`.
        lures: What is around it.
        off: Layers to switch off.
        limits: Limits that differ from the defaults.
        user: As whom; the tests' own unless given.
        environment: What both plugins are run in; the executor's own unless given.
    """
    given = {"environment": str(environment)} if environment is not None else {}
    config = {
        "plugins": [{"path": str(plugins / name), **given} for name in ("hostile", "lab")],
        "hooks": {
            "hostile": {},
            "lab": {"settings": {"token": canary("setting"), "greeting": {"from_env": ENVIRONMENT}}},
            "filed": {"plugin": "lab", "settings": {"token": {"from_file": "secret"}}},
        },
        "limits": {"cancel_grace_time": "100ms", **(limits or {})},
        "isolation": {"off": list(off)},
    }
    python = sys.executable if user is None else python_for(plugins.parent)
    groups = [GROUP] if user is None and os.geteuid() == 0 else None
    variables = {ENVIRONMENT: canary("environment")}
    executor = Executor(config=config, environment=variables, python=python, user=user, groups=groups)
    executor.resting_count = 4  # supervisor, base zygote, and those of two plugins
    if environment is not None:
        executor.resting_count += 1  # that of the environment
    (executor.folder / "secret").write_text(canary("file"))
    for path in (executor.folder / "secret", executor.config_file):
        path.chmod(0o600)
        if user is not None:
            os.chown(path, user, user)
    with executor, contextlib.closing(service := Service(executor, plugins, lures)):
        service.client.get("/hello", headers={"X-Secret": canary("previous")}).raise_for_status()
        service.hello(canary("previous"))
        yield service
