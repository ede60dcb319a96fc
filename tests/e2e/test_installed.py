"""Plugins that are installed, and hooks that commands make, in a running service."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from executor.store.store import open_store
from tests import plain_http
from tests.e2e.harness import COMMAND, LAB, Executor, until
from tests.executor.catalog.plugins import Edit, edited, write_plugin
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.e2e

SLOW = """\
import time

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Cat(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        def generate():
            yield "VERSION "
            if values["name"] == "slow":
                time.sleep(3)
            import helper
            yield f"{helper.WORD} {settings['colour']} {settings['token']}"

        return Response(generate())
"""


def write_version(folder: Path, version: str, source: str = SLOW) -> Path:
    """A plugin of which each version says which one it is, with a module that is imported late."""
    files = edited(Edit("manifest.yaml", "0.0.1", version))
    files["endpoints/cat.py"] = source.replace("VERSION", version)
    files["helper.py"] = f"WORD = 'helper of {version}'\n"
    return write_plugin(folder, files)


class Commands:
    """Runs commands about the state folder of a service, in this process: to start one takes longer than most of them.

    Args:
        executor: The service; it need not run yet.
        options: Further options of each command.
    """

    def __init__(self, executor: Executor, *options: str) -> None:
        self._options = (*options, "--state-dir", str(executor.state_dir))
        self._app = create_app()

    def run(self, *arguments: str | Path, environment: dict[str, str] | None = None) -> Result:
        """Run one; whatever comes of it."""
        runner = CliRunner(env={"COLUMNS": "200", **(environment or {})})
        return runner.invoke(self._app, [*map(str, arguments), *self._options])

    def __call__(self, *arguments: str | Path, environment: dict[str, str] | None = None) -> str:
        """Run one that succeeds; what it printed."""
        done = self.run(*arguments, environment=environment)
        assert done.exit_code == 0, (done.stderr, done.exception)
        return done.stdout

    def json(self, *arguments: str | Path, environment: dict[str, str] | None = None) -> Any:
        """Run one that succeeds, and read what it printed."""
        return json.loads(self(*arguments, "--format", "json", environment=environment))


@contextmanager
def started(
    tmp_path: Path, *arguments: str | Path, config: dict[str, Any] | None = None
) -> Iterator[tuple[Executor, Commands]]:
    """A service with version 0.0.1 of the plugin installed, and one hook, `cat`."""
    executor = Executor(*arguments, config=config)
    command = Commands(executor)
    command("plugin", "install", write_version(tmp_path / "v1", "0.0.1"))
    command("hook", "create", "cat", "--id", "cat", "--from-env", "token=TOKEN", environment={"TOKEN": "hush-hush"})
    with executor:
        yield executor, command


def call(executor: Executor, hook: str, name: str = "x") -> httpx.Response:
    """Call the plugin's endpoint."""
    return plain_http.get(f"{executor.url}/e/{hook}/cat/{name}")


def test_the_life_of_a_plugin(tmp_path: Path) -> None:
    """Packed, installed, served at once, changed, disabled, rotated, removed; each in force when the command ends."""
    executor = Executor()
    command = Commands(executor)
    package = tmp_path / "lab.difypkg"
    packed = subprocess.run(
        [*COMMAND, "plugin", "package", str(LAB), "-o", str(package)], capture_output=True, text=True, check=True
    )
    identifier = packed.stdout.splitlines()[1]
    install = [*COMMAND, "plugin", "install", str(package), "--state-dir", str(executor.state_dir), "--format", "json"]
    installed = subprocess.run(install, capture_output=True, text=True, check=True)
    assert json.loads(installed.stdout)["identifier"] == identifier
    with executor:
        assert "executor hook create NAME" in executor.stdout
        assert executor.get("/info").status_code == 404
        made = command.json("hook", "create", "lab", "--set", "greeting=hi")
        hook = made["hook_id"]
        assert len(hook) == 16
        assert made["urls"] == [f"{executor.url}/e/{hook}/"]
        url = f"{executor.url}/e/{hook}/info"
        with plain_http.client() as client:
            assert client.get(url).json()["settings"] == {"greeting": "hi", "shout": False}
            changed = command.json("hook", "set", hook, "--set", "shout=1", "--unset", "greeting")
            assert changed["settings"] == {"greeting": "hello", "shout": True}
            assert client.get(url).json()["settings"] == {"greeting": "hello", "shout": True}
            command("hook", "disable", hook)
            assert (client.get(url).status_code, client.get(url).json()["code"]) == (404, "hook.not_found")
            command("hook", "enable", hook)
            assert client.get(url).status_code == 200
            rotated = command.json("hook", "rotate", hook)["hook_id"]
            assert client.get(url).status_code == 404
            url = f"{executor.url}/e/{rotated}/info"
            assert client.get(url).json()["settings"] == {"greeting": "hello", "shout": True}
            refused = command.run("plugin", "remove", "lab")
            assert refused.exit_code == 1
            assert f"serves the hooks {rotated}" in refused.stderr
            command("hook", "remove", rotated)
            assert client.get(url).status_code == 404
        command("plugin", "remove", "lab")
        assert command.json("plugin", "list") == {"plugins": []}
        assert not list((executor.state_dir / "plugins").glob("*/"))
        assert executor.own_failures() == []


def test_a_service_with_nothing_to_serve(tmp_path: Path) -> None:
    """It starts, healthy and ready, with the very commands that add a plugin; what they add is served at once."""
    write_plugin(tmp_path / "cat")
    with Executor() as executor:
        commands = [line.strip() for line in executor.stdout.splitlines() if line.startswith("    executor ")]
        install, create = (shlex.split(line) for line in commands)
        assert install == ["executor", "plugin", "install", "PACKAGE", "--state-dir", str(executor.state_dir)]
        for path in ("/healthz", "/readyz"):
            assert plain_http.get(f"{executor.admin}{path}").status_code == 200
        answer = call(executor, "cat")
        assert (answer.status_code, answer.json()["code"]) == (404, "hook.not_found")
        command = Commands(executor)
        command(*install[1:3], tmp_path / "cat")
        assert create[:4] == ["executor", "hook", "create", "NAME"]
        made = command.run(
            *create[1:3], "cat", "--id", "cat", "--from-env", "token=TOKEN", environment={"TOKEN": "hush-hush"}
        )
        assert f"in force at {executor.url}" in made.stderr
        assert call(executor, "cat").status_code == 200
        executor.process.send_signal(signal.SIGHUP)
        executor.wait_event("service.reloaded", hooks=1)
        assert call(executor, "cat").status_code == 200
        assert executor.own_failures() == []


def test_an_upgrade_under_load(tmp_path: Path) -> None:
    """And back again: no request fails, whole answers of one version each, and the new one as soon as it is said."""
    with started(tmp_path) as (executor, command), ThreadPoolExecutor(5) as pool:
        slow = pool.submit(call, executor, "cat", "slow")
        executor.wait_workers(1)
        stop = threading.Event()

        def load() -> list[tuple[int, str]]:
            with plain_http.client() as client:
                answers = []
                while not stop.is_set():
                    answer = client.get(f"{executor.url}/e/cat/cat/x")
                    answers.append((answer.status_code, answer.text))
                return answers

        running = [pool.submit(load) for _ in range(3)]
        try:
            upgraded = command.json("plugin", "upgrade", write_version(tmp_path / "v2", "0.0.2"))
            assert [one["hook_id"] for one in upgraded["hooks"]] == ["cat"]
            assert upgraded["services"] == [executor.url]
            assert call(executor, "cat").text == "0.0.2 helper of 0.0.2 red hush-hush"
            back = command.json("plugin", "upgrade", "cat", "--back")
            assert back["hooks"][0]["to"] == upgraded["hooks"][0]["from"]
            assert call(executor, "cat").text == "0.0.1 helper of 0.0.1 red hush-hush"
        finally:
            stop.set()
        answers = [answer for future in running for answer in future.result()]
        assert set(answers) == {
            (200, "0.0.1 helper of 0.0.1 red hush-hush"),
            (200, "0.0.2 helper of 0.0.2 red hush-hush"),
        }
        assert slow.result().text == "0.0.1 helper of 0.0.1 red hush-hush"
        assert executor.own_failures() == []
        assert {one["outcome"] for one in executor.events("invocation")} == {"ok"}


def test_a_version_that_cannot_be_served_is_taken_back(tmp_path: Path) -> None:
    """The command says why; the version before goes on, in the service and in the store."""
    with started(tmp_path) as (executor, command):
        broken = write_version(tmp_path / "v2", "0.0.2", "import module_that_is_missing\n" + SLOW)
        done = command.run("plugin", "upgrade", broken)
        assert done.exit_code == 1
        assert "hook cat: plugin cat: no worker of it could answer" in done.stderr
        assert "module_that_is_missing" in done.stderr
        assert "the change was taken back" in done.stderr
        assert call(executor, "cat").text.startswith("0.0.1")
        (hook,) = command.json("hook", "list")["hooks"]
        assert (hook["version"], hook["previous"]) == ("0.0.1", None)
        new = command.run("hook", "create", "cat:0.0.2", "--from-env", "token=TOKEN", environment={"TOKEN": "x"})
        assert new.exit_code == 1
        assert len(command.json("hook", "list")["hooks"]) == 1


def test_a_broken_version_does_not_keep_others_from_being_served(tmp_path: Path) -> None:
    """Its hooks answer 503 until it is installed again; the service starts all the same."""
    executor = Executor()
    command = Commands(executor)
    command("plugin", "install", write_version(tmp_path / "v1", "0.0.1"))
    command("plugin", "install", LAB)
    command("hook", "create", "lab", "--id", "lab")
    command("hook", "create", "cat", "--id", "cat", "--from-env", "token=TOKEN", environment={"TOKEN": "x"})
    (helper,) = (executor.state_dir / "plugins").glob("tester/cat/*/helper.py")
    helper.write_text("WORD = 'something else'")
    with executor:
        assert executor.get("/status/200").status_code == 200
        answer = call(executor, "cat")
        assert (answer.status_code, answer.json()["code"]) == (503, "hook.failed")
        assert "have been changed" in executor.wait_event("hook.failed", hook_id="cat")["problem"]
        command("plugin", "install", tmp_path / "v1")
        assert call(executor, "cat").text == "0.0.1 helper of 0.0.1 red x"
        assert executor.get("/status/200").status_code == 200


def test_files_of_a_version_stay_while_requests_use_them(tmp_path: Path) -> None:
    """A request of a version that is removed meanwhile imports its modules to the end; later they are deleted."""
    with started(tmp_path) as (executor, command), ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, executor, "cat", "slow")
        executor.wait_workers(1)
        command("plugin", "upgrade", write_version(tmp_path / "v2", "0.0.2"))
        command("plugin", "remove", "cat:0.0.1")
        assert slow.result().text == "0.0.1 helper of 0.0.1 red hush-hush"
        executor.wait_workers(0)
        command("plugin", "install", tmp_path / "v2")
        assert [one["version"] for one in command.json("plugin", "list")["plugins"]] == ["0.0.2"]
        assert len(list((executor.state_dir / "plugins").glob("tester/cat/*"))) == 1


def test_a_change_that_nobody_tells_is_seen(tmp_path: Path) -> None:
    """As that of a command that was killed, or of another machine with the same database."""
    with started(tmp_path) as (executor, _):
        with open_store(None, executor.state_dir) as store:
            store.hooks.remove("cat")
        executor.wait_event("service.refreshed", hooks=0)
        assert call(executor, "cat").status_code == 404


def test_configured_and_installed_hooks_are_served_together(tmp_path: Path) -> None:
    """SIGHUP keeps what is installed; a hook of the configuration with the same id goes first."""
    config: dict[str, Any] = {"plugins": [str(LAB)]}
    with started(tmp_path, config=config) as (executor, command):
        assert executor.get("/status/200").status_code == 200
        assert call(executor, "cat").status_code == 200
        refused = command.run("hook", "create", "cat", "--id", "lab", "--from-env", "token=T", environment={"T": "x"})
        assert refused.exit_code == 1
        assert "the configuration has a hook with the same id" in refused.stderr
        assert executor.get("/status/200").status_code == 200
        config["hooks"] = {"second": {"plugin": "lab"}}
        executor.write_config(config)
        executor.process.send_signal(1)
        executor.wait_event("service.reloaded", hooks=2)
        assert call(executor, "cat").status_code == 200


def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    """Not in the log, not in what commands print, not in the database, not where others may read."""
    with started(tmp_path) as (executor, command):
        assert call(executor, "cat").text.endswith("hush-hush")
        printed = command("hook", "show", "cat") + json.dumps(command.json("hook", "show", "cat"))
        printed += command("hook", "list") + command("plugin", "show", "cat")
        assert "hush-hush" not in printed
        assert "hu*****sh" in printed
        assert "hush-hush" not in executor.log_text() + executor.stdout
        for path in executor.state_dir.rglob("*"):
            assert not path.is_file() or b"hush-hush" not in path.read_bytes(), path
        assert executor.state_dir.stat().st_mode & 0o077 == 0


def test_services_of_several_machines_share_a_store(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """With PostgreSQL: hooks made on one are served on the other, once the package is installed there, too."""
    config = {"store": {"url": postgresql.make_database()}, "secrets": {"key": {"from_file": str(tmp_path / "key")}}}
    key = subprocess.run([*COMMAND, "secrets", "new-key"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "key").write_text(key)
    with Executor(config=config) as one, Executor(config=config) as other:
        here, there = (Commands(each, "--config", str(each.config_file)) for each in (one, other))
        here("plugin", "install", write_version(tmp_path / "v1", "0.0.1"))
        here("hook", "create", "cat", "--id", "cat", "--from-env", "token=T", environment={"T": "x"})
        assert call(one, "cat").status_code == 200
        assert "its files are not on this machine" in other.wait_event("hook.failed")["problem"]
        assert call(other, "cat").status_code == 503
        there("plugin", "install", tmp_path / "v1")
        assert call(other, "cat").text == "0.0.1 helper of 0.0.1 red x"
        here("hook", "disable", "cat")
        assert any(call(other, "cat").status_code == 404 for _ in until(120))
