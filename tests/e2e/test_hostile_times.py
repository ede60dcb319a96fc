"""Signals and failures at the worst moments of the service's life: it ends cleanly, or goes on."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.e2e.duplex import begun
from tests.e2e.harness import COMMAND, LAB, Executor, until, wait_below, wait_ended

pytestmark = pytest.mark.e2e

SLOW = "import os, time\nif os.path.exists(os.path.dirname(__file__) + '/slow'):\n    time.sleep(60)\n"


def copy_lab(folder: Path) -> Path:
    """A copy of the lab whose import of one source takes a minute while a file `slow` is there."""
    plugin = folder / "lab"
    shutil.copytree(LAB, plugin, ignore=shutil.ignore_patterns("__pycache__"))
    source = plugin / "endpoints" / "count.py"
    source.write_text(SLOW + source.read_text())
    return plugin


def start(folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a service that does not become ready."""
    command = [*COMMAND, "serve", *map(str, arguments), "--port", "0", "--state-dir", str(folder / "state")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_starting(tmp_path: Path, number: int) -> None:
    """The start is given up, cleanly; SIGHUP means nothing yet."""
    plugin = copy_lab(tmp_path)
    (plugin / "endpoints" / "slow").touch()
    process = start(tmp_path, plugin)
    below = wait_below(process.pid, 5)
    process.send_signal(signal.SIGHUP)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Serving" not in output
    assert "Traceback" not in errors
    assert "exc_type" not in errors
    wait_ended(below)


def test_a_signal_while_reloading(tmp_path: Path) -> None:
    """The reload is given up, running work is drained."""
    plugin = copy_lab(tmp_path)
    with Executor(config={"plugins": [str(plugin)]}) as executor, begun(executor) as running:
        (plugin / "endpoints" / "slow").touch()
        for _ in range(20):
            executor.process.send_signal(signal.SIGHUP)
        executor.wait_named("ee-zygote", 3)  # the base zygote's, the old version's, the new one's
        executor.process.send_signal(signal.SIGTERM)
        executor.wait_event("service.draining")
        running.finish()
        assert executor.process.wait(120) == 0
        assert not executor.events("service.reload_refused")


def test_two_signals_at_once() -> None:
    """The second is not lost although nobody has looked at the first yet."""
    with Executor(LAB) as executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(executor.get, "/wait/30")
        executor.wait_workers(1, state="running")
        executor.process.send_signal(signal.SIGSTOP)
        executor.process.send_signal(signal.SIGTERM)
        executor.process.send_signal(signal.SIGINT)
        executor.process.send_signal(signal.SIGCONT)
        assert executor.process.wait(120) == 0
        assert running.result().status_code == 503


def test_failed_reloads_leave_nothing(tmp_path: Path) -> None:
    """Versions that were tried and refused are not kept; what was served goes on, its folder deleted or not."""
    plugin = copy_lab(tmp_path)
    source = plugin / "endpoints" / "count.py"
    good = source.read_text()
    with Executor(config={"plugins": [str(plugin)]}) as executor:
        for number in range(3):
            source.write_text(f"import missing_{number}\n{good}")
            executor.process.send_signal(signal.SIGHUP)
            executor.wait_refused(f"missing_{number}")
        assert len(executor.resting_processes()) == executor.resting_count
        source.write_text(good)
        assert executor.get("/count").text.startswith("1 ")
        moved = plugin.rename(tmp_path / "moved")
        assert executor.get("/count").text.startswith("1 "), "the zygote's view holds the folder itself, not its path"
        executor.process.send_signal(signal.SIGHUP)
        executor.wait_refused(str(plugin))
        executor.write_config({"plugins": [str(moved)]})
        executor.process.send_signal(signal.SIGHUP)
        executor.wait_event("service.reloaded")
        assert executor.get("/count").text.startswith("1 "), "the same content in another folder is another plugin"
        assert len(executor.resting_processes()) == executor.resting_count


@pytest.mark.stress  # with short times in place of many seconds: tests/executor/supervisor/test_hanging.py
@pytest.mark.parametrize("which", ["slot", "slot and zygote"])
def test_what_hangs_is_replaced(which: str) -> None:
    """The client is answered; the slot is ended by its zygote, and the zygote by the base zygote."""
    config = {"plugins": [str(LAB)], "limits": {"first_byte_time": "2s"}, "spares": {"total": 0}}
    with Executor(config=config) as executor:
        executor.get("/status/200")
        executor.resting_processes()
        hanging = executor.named("ee-slot")  # one, or two when the plugin was being compiled meanwhile
        if which == "slot and zygote":
            hanging.append(executor.named("ee-zygote")[1])
        for process in hanging:
            process.send_signal(signal.SIGSTOP)
        answer = executor.get("/status/200")
        assert (answer.status_code, answer.json()["code"]) == (504, "timeout.first_byte")
        assert any(executor.get("/status/200").status_code == 200 for _ in until(120))
        wait_ended(hanging)
        assert len(executor.resting_processes()) == executor.resting_count


@pytest.mark.parametrize("what", ["ready file", "run folder", "admin port"])
def test_a_start_that_fails_late(tmp_path: Path, what: str, lab: Executor) -> None:
    """One sentence, and neither a process nor a folder is left."""
    arguments: list[str | Path] = [LAB]
    if what == "ready file":
        arguments += ["--ready-file", tmp_path / "missing" / "ready.json"]
    elif what == "run folder":
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "run").touch()
    else:
        arguments += ["--admin-port", lab.admin.rpartition(":")[2]]
    process = start(tmp_path, *arguments)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.count("error: ") == 1
    assert "Traceback" not in errors
    assert "exc_type" not in errors
    assert not [command for command in commands() if str(tmp_path) in command]


def commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return found
