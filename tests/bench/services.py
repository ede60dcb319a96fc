"""Our service in other shapes than the usual one: with many hooks or plugins, many workers, or the real SDK."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.systems import OurService
from tests.bench.workloads import PLUGIN
from tests.e2e.harness import COMMAND

__all__ = [
    "SIBLING",
    "end_zygote",
    "find_zygote",
    "importing",
    "many_hooks",
    "many_plugins",
    "many_workers",
    "plain",
    "real_sdk",
]

SIBLING: Final = "sibling"
"""Hook of a plugin that is the same but for its name."""

IMPORTING: Final = "importing"
PACKAGE: Final = "httpx"
"""What that plugin imports: a client for HTTP, as many plugins have one. It takes 80 ms."""

HEADROOM: Final = 64
"""Workers beyond those that are wanted, such as spare ones."""

NAME_LINE: Final = "name: bench\n"
GONE_TIME_S: Final = 30.0
GONE_PAUSE_S: Final = 0.005

FILL: Final = """
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
INSERT INTO executor_hooks
SELECT 'other-' || number, tenant_id, plugin_id, groups, active, previous, enabled, settings, secrets, created_at,
       updated_at
FROM numbers, executor_hooks
"""
"""Copies the only hook that there is; a command for each would take a day."""


@contextlib.contextmanager
def plain() -> Iterator[OurService]:
    """The usual shape, for comparison: one plugin, one hook, defaults."""
    with _running(OurService()) as service:
        yield service


@contextlib.contextmanager
def many_hooks(count: int) -> Iterator[OurService]:
    """One plugin with many hooks, in the store: a configuration file may not be so large.

    Args:
        count: How many hooks; `bench` is the one that is called.
    """
    with _folder() as state_dir:
        for words in (("plugin", "install", str(PLUGIN)), ("hook", "create", "bench", "--id", "bench")):
            command = [*COMMAND, *words, "--state-dir", str(state_dir)]
            subprocess.run(command, check=True, capture_output=True, text=True)
        with contextlib.closing(sqlite3.connect(state_dir / "executor.db")) as store, store:
            store.execute(FILL, (count - 1,))
        with _running(OurService({}, state_dir=state_dir)) as service:
            yield service


@contextlib.contextmanager
def many_plugins(count: int) -> Iterator[OurService]:
    """Many plugins that are the same but for their names, each with a hook.

    Args:
        count: How many; `bench` is the one that is called.
    """
    with _folder() as folder:
        copies = [_copy_plugin(folder, f"other-{number}") for number in range(1, count)]
        with _running(OurService({"plugins": [str(PLUGIN), *map(str, copies)]})) as service:
            yield service


@contextlib.contextmanager
def many_workers(count: int) -> Iterator[OurService]:
    """One hook, for which many workers may run at the same time.

    Args:
        count: How many.
    """
    most = count + HEADROOM
    config = {"plugins": [str(PLUGIN)], "admission": {"concurrency": most}, "limits": {"concurrency": most}}
    with _running(OurService(config)) as service:
        yield service


@contextlib.contextmanager
def importing() -> Iterator[OurService]:
    """One plugin, whose sources import a package that takes its time."""
    with _folder() as folder:
        plugin = _copy_plugin(folder, IMPORTING)
        source = plugin / "endpoints" / "hello.py"
        source.write_text(f"import {PACKAGE}\n{source.read_text(encoding='utf-8')}", encoding="utf-8")
        with _running(OurService({"plugins": [str(plugin)]})) as service:
            service.hook = IMPORTING
            yield service


@contextlib.contextmanager
def real_sdk(python: Path) -> Iterator[OurService]:
    """The plugin and its sibling, in one environment with Dify's SDK.

    Args:
        python: An interpreter that has it.
    """
    environment = str(python.parent.parent)
    with _folder() as folder:
        plugins = [{"path": str(path), "environment": environment} for path in (PLUGIN, _copy_plugin(folder, SIBLING))]
        with _running(OurService({"plugins": plugins})) as service:
            yield service


def find_zygote(service: OurService, plugin: str | None) -> int:
    """Tell the process id of the youngest zygote of a plugin, or, for None, of the youngest base zygote."""
    events = service.events("zygote.ready")
    return int(next(event["pid"] for event in reversed(events) if event["plugin"] == plugin))


def end_zygote(pid: int) -> None:
    """Kill a zygote, and with it all that was forked from it; wait until it is gone.

    Raises:
        RuntimeError: It is not gone for long.
    """
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_TIME_S
    while not _has_ended(pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"process {pid} does not end")
        time.sleep(GONE_PAUSE_S)


def _has_ended(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text[text.rindex(")") + 2] == "Z"  # its parent waits for it when it needs another one


@contextlib.contextmanager
def _running(service: OurService) -> Iterator[OurService]:
    service.start()
    try:
        yield service
    finally:
        service.stop()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="executor-bench-") as folder:
        yield Path(folder)


def _copy_plugin(folder: Path, name: str) -> Path:
    """Copy the plugin under another name; the folder of the copy."""
    copy = folder / name
    shutil.copytree(PLUGIN, copy, ignore=shutil.ignore_patterns("__pycache__"))
    manifest = copy / "manifest.yaml"
    text = manifest.read_text(encoding="utf-8")
    if NAME_LINE not in text:
        raise RuntimeError(f"{manifest} does not say {NAME_LINE.strip()!r}")
    manifest.write_text(text.replace(NAME_LINE, f"name: {name}\n"), encoding="utf-8")
    return copy
