"""`executor ps`: a table of live workers, from a real listener, found by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from executor.cli import asking, ps
from executor.cli.main import create_app
from executor.config.instance import announce
from executor.figures.live import Snapshot
from executor.figures.processes import describe_workers
from executor.figures.registry import Registry
from tests.executor.figures.support import IDLE, running_admin, worker

BUSY = dataclasses.replace(
    IDLE,
    workers=(worker(pid=os.getpid(), age_s=90.0), worker(pid=2**22 + 9, rule="/\x1b[31mred", state="responding")),
    queued=3,
)


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), ["ps", *arguments])


@pytest.fixture
def admin() -> Iterator[str]:
    """The URL of a real admin listener."""
    with running_admin(Registry(), lambda: BUSY) as url:
        yield url


def test_live_workers_are_a_table(admin: str) -> None:
    """What runs, for whom, since when, at what cost."""
    result = run("--url", admin)
    assert result.exit_code == 0
    header, first, second, summary = result.output.splitlines()
    assert header.split()[:5] == ["PID", "HOOK", "METHOD", "RULE", "STATE"]
    assert first.split()[:7] == [str(os.getpid()), "cat", "GET", "/duck/<app_id>", "running", "90.0", "s"]
    assert "0193a5f0-0000-7000-8000-000000000001" in first
    assert "MiB" in first
    assert "2.0 KiB" in second
    assert summary == "2 live workers, 3 waiting"


def test_plugins_cannot_steer_the_terminal(admin: str) -> None:
    """What they have named is escaped."""
    output = run("--url", admin).output
    assert "\x1b" not in output
    assert "/\\x1b[31mred" in output


def test_json_is_the_whole_answer(admin: str) -> None:
    """For scripts."""
    document = json.loads(run("--url", admin, "--format", "json").output)
    assert [entry["state"] for entry in document["workers"]] == ["running", "responding"]
    assert document["workers"][1]["rss_bytes"] is None


def test_the_running_executor_is_found(admin: str, tmp_path: Path) -> None:
    """Through the file that it keeps in its state folder."""
    with announce(tmp_path, public="http://127.0.0.1:1", admin=admin):
        result = run("--state-dir", str(tmp_path))
    assert result.exit_code == 0
    assert "2 live workers" in result.output


def test_the_state_folder_of_the_environment_is_used(
    admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as `executor serve` uses."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with announce(tmp_path / "endpoint-executor", public="http://127.0.0.1:1", admin=admin):
        assert "2 live workers" in run().output


def test_no_running_executor_is_told(tmp_path: Path) -> None:
    """With what to do."""
    result = run("--state-dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"error: no running executor found in {tmp_path}; start one with `executor serve`" in result.stderr
    assert result.stdout == ""


def test_several_running_executors_are_told(tmp_path: Path) -> None:
    """With how to choose one."""
    with announce(tmp_path, public="http://127.0.0.1:1", admin="http://127.0.0.1:2") as file:
        instance = json.loads(file.read_text(encoding="utf-8"))
        (file.parent / "x.json").write_text(json.dumps(instance | {"admin": "http://127.0.0.1:4"}), encoding="utf-8")
        result = run("--state-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "2 running executors found" in result.stderr
    assert "--url http://127.0.0.1:2 " in result.stderr
    assert "--url http://127.0.0.1:4 " in result.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1", "gave no answer"),
        ("http://no-such-host.invalid", "gave no answer"),
        ("127.0.0.1:8081", "not a URL"),
        ("file:///etc/passwd", "not a URL"),
        ("http://[", "not a URL"),
    ],
)
def test_a_url_that_does_not_answer_is_told(url: str, message: str) -> None:
    """In one sentence, without a traceback."""
    result = run("--url", url)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_something_else_at_the_url_is_told(admin: str) -> None:
    """It answers 404, or not with JSON, or with other JSON."""
    assert "answered 404" in run("--url", f"{admin}/nope").stderr
    assert "gave no answer" in run("--url", f"{admin}/healthz?").stderr
    assert "not that of an executor" in run("--url", f"{admin}/readyz?").stderr


def test_something_that_does_not_speak_http_is_told() -> None:
    """Another service's port."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")

        greeting = pool.submit(greet)
        result = run("--url", f"http://127.0.0.1:{server.getsockname()[1]}")
        greeting.result()
    assert result.exit_code == 1
    assert "gave no answer" in result.stderr


def test_proxies_of_the_environment_are_not_asked(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could not reach this machine's loopback."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert run("--url", admin).exit_code == 0


def test_watching_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is interrupted."""
    snapshots = iter([IDLE, BUSY, IDLE])

    def snapshot() -> Snapshot:
        return next(snapshots)

    with running_admin(Registry(), snapshot) as url:
        naps: list[float] = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(asking, "sleep", nap)
        result = run("--url", url, "--watch", "0.5")
    assert result.exit_code == 0
    assert naps == [0.5, 0.5, 0.5]
    assert [line for line in result.output.splitlines() if "live worker" in line] == [
        "0 live workers, 0 waiting",
        "2 live workers, 3 waiting",
        "0 live workers, 0 waiting",
    ]


def test_watching_json_is_one_document_per_line(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For programs that read line by line."""
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(asking, "sleep", nap)
    result = run("--url", admin, "--watch", "1", "--format", "json")
    assert result.exit_code == 0
    documents: list[Any] = [json.loads(line) for line in result.output.splitlines()]
    assert [len(document["workers"]) for document in documents] == [2, 2]


def test_an_executor_that_goes_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is being restarted, perhaps."""
    naps: list[float] = []
    with contextlib.ExitStack() as running:
        url = running.enter_context(running_admin(Registry(), lambda: IDLE))

        def nap(seconds: float) -> None:
            naps.append(seconds)
            running.close()
            if len(naps) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(asking, "sleep", nap)
        result = run("--url", url, "--watch", "1")
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == "0 live workers, 0 waiting", "there is no head of an empty table"
    assert "gave no answer" in result.output


@pytest.mark.parametrize(("width", "columns"), [(80, 8), (100, 11), (140, 12), (200, 14)])
def test_narrow_terminals_get_fewer_columns(width: int, columns: int) -> None:
    """And no cut figures; long rules make place."""
    live = describe_workers((worker(pid=os.getpid(), rule="/x" * 100, bytes_out=999 * 1024**2),))
    document = {"workers": live, "queued": 0, "draining": True}
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(ps.draw_workers(document, width))
    header, *rest, summary = capture.get().splitlines()
    assert len(header.split()) == columns
    assert all(len(line) <= width for line in rest)
    assert rest[0].split()[0] == str(os.getpid())
    assert "999 MiB" in rest[0]
    assert summary == "1 live worker, 0 waiting; the executor is shutting down"


def test_help_teaches() -> None:
    """With examples."""
    output = run("--help").output
    assert "executor ps --watch 1" in output
