"""`executor dev` follows the changes of its author, whatever state the plugin is in meanwhile."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import psutil
import pytest

from executor.authoring.scaffold import NewPlugin, render_files, write_plugin
from executor.isolation.layers import DEFAULT_REQUIRED
from tests import plain_http
from tests.e2e.harness import COMMAND, wait_ended

pytestmark = pytest.mark.e2e

PATIENCE_S = 240
HELLO = "endpoints/hello.py"


class Dev:
    """A running `executor dev`.

    Args:
        folder: Of the plugin.
        arguments: Further ones.
        state: Folder for state.
    """

    def __init__(self, folder: Path, *arguments: str | Path, state: Path) -> None:
        ready = state.with_name("ready.json")
        command = [*COMMAND, "dev", str(folder), *(str(one) for one in arguments)]
        command += ["--port", "0", "--state-dir", str(state), "--ready-file", str(ready)]
        self.state = state
        self.folder = folder
        self.seen: list[str] = []
        environment = {**os.environ, "NO_COLOR": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self._lines = iter(self.process.stderr)
        self.wait("Listening at ")
        addresses = json.loads(ready.read_text())
        self.url, self.admin = addresses["public"], addresses["admin"]

    def __enter__(self) -> Self:
        """Keep it running."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if a test has not."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def wait(self, text: str) -> str:
        """Read on until a line has this text; return the line. Never the same line twice."""
        for line in self._lines:
            self.seen.append(line.rstrip("\n"))
            if text in line:
                return self.seen[-1]
        raise AssertionError(f"no {text!r} in:\n" + "\n".join(self.seen))

    def get(self, path: str) -> httpx.Response:
        """Ask for a path of the plugin."""
        return plain_http.get(f"{self.url}/e/my_cat{path}")

    def edit(self, path: str, old: str, new: str) -> None:
        """Change a file, as editors do: a new one takes its place."""
        file = self.folder / path
        text = file.read_text()
        assert old in text
        replacement = file.with_name(f".{file.name}.swp")
        replacement.write_text(text.replace(old, new))
        replacement.rename(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new plugin, `my_cat`."""
    plugin = NewPlugin(name="my_cat", author="ada", label="My Cat", description="A cat.")
    write_plugin(tmp_path / "my_cat", render_files(plugin))
    return tmp_path / "my_cat"


@pytest.fixture
def dev(folder: Path, tmp_path: Path) -> Iterator[Dev]:
    """It, served."""
    with Dev(folder, state=tmp_path / "state") as running:
        running.wait("serving my_cat 0.0.1")
        yield running


def test_a_change_is_served_to_the_next_request(dev: Dev) -> None:
    """However soon that comes after the file was saved; then the change is told, once."""
    assert dev.get("/hello/Ada").text == "Hello, Ada!\n"
    for number in range(5):
        old, new = ("!" * (number + 1)), ("!" * (number + 2))
        dev.edit(HELLO, f'{old}"', f'{new}"')
        assert dev.get("/hello/Ada").text == f"Hello, Ada{new}\n"
    assert " 200 " in dev.wait("GET /e/my_cat/hello/Ada")


def test_a_change_is_served_without_a_request(dev: Dev) -> None:
    """Code, declarations, new files, the author's settings: each change is told by its name."""
    dev.edit(HELLO, "Hello", "Hi")
    assert "endpoints/hello.py changed; serving my_cat" in dev.wait("serving")
    dev.edit("endpoints/hello.yaml", "/hello/<name>", "/hi/<name>")
    dev.wait("endpoints/hello.yaml changed; serving my_cat")
    assert dev.wait("curl").endswith("/e/my_cat/hi/name")
    assert dev.get("/hi/Ada").text == "Hello, Ada!\n"
    assert dev.get("/hello/Ada").status_code == 404
    assert "404: no endpoint has the path /hello/Ada" in dev.wait("404")
    (dev.folder / "settings.local.yaml").write_text("greeting: Good morning\n")
    dev.wait("settings.local.yaml changed; serving my_cat")
    assert dev.get("/hi/Ada").text == "Good morning, Ada!\n"


def test_the_last_good_state_is_kept(dev: Dev) -> None:
    """A mistake in YAML, in Python, at import: told with its place, and mended by the next change."""
    for path, old, new, place in (
        ("endpoints/hello.yaml", "method: GET", "method: FETCH", "endpoints/hello.yaml:2:9: method: expected one of"),
        (HELLO, "class Hello", "clas Hello", "endpoints/hello.py:9:"),
        (HELLO, "from dify_plugin", "import nothing_like_it\nfrom dify_plugin", "No module named 'nothing_like_it'"),
        (HELLO, "class Hello", "1 // 0\n\n\nclass Hello", "integer division or modulo by zero"),
    ):
        dev.edit(path, old, new)
        line = dev.wait("error: ")
        assert place in line
        if path == HELLO and "clas " not in new:
            assert f"{dev.folder}/{HELLO}:" in dev.wait(f"{HELLO}:"), "the plugin's own frame"
        assert f"{path} changed; the last good state is served; waiting" in dev.wait("waiting for a change")
        assert dev.get("/hello/Ada").text == "Hello, Ada!\n"
        dev.edit(path, new, old)
        dev.wait(f"{path} changed; serving my_cat")
    assert dev.get("/hello/Ada").text == "Hello, Ada!\n"


def test_a_plugin_that_is_broken_from_the_start(folder: Path, tmp_path: Path) -> None:
    """It is waited for; also for settings that nobody has given, and a folder that goes away."""
    group = folder / "group" / "my_cat.yaml"
    group.write_text(
        group.read_text().replace("type: secret-input\n    required: false", "type: secret-input\n    required: true")
    )
    with Dev(folder, state=tmp_path / "state") as dev:
        assert "setting token: expected a text, found nothing. Give it with --set token=VALUE" in dev.wait("error: ")
        dev.wait("nothing is served yet; waiting for a change")
        assert dev.get("/hello/Ada").status_code == 404
        (folder / "settings.local.yaml").write_text("token: t\n")
        dev.wait("settings.local.yaml changed; serving my_cat")
        assert dev.get("/hello/Ada").status_code == 200
        shutil.move(folder, tmp_path / "elsewhere")
        assert dev.get("/hello/Ada").status_code == 200
        assert "is no folder any more" in dev.wait("error: ")
        shutil.copytree(tmp_path / "elsewhere", folder)
        dev.wait("serving my_cat")


def test_what_a_request_is_told_with(dev: Dev) -> None:
    """Output as it comes, status, time, bytes, memory and processor time; exceptions with the plugin's own line."""
    answer = plain_http.post(f"{dev.url}/e/my_cat/webhook?a=1", json={"event": "opened"})
    assert answer.json() == {"received": "opened"}
    assert dev.wait("got the event") == "  | endpoints.webhook: got the event opened"
    line = dev.wait("POST /e/my_cat/webhook?a=1  200  ")
    assert " 23 B  memory " in line
    assert " of 256 MiB  cpu " in line
    dev.edit(HELLO, "r.args.get", "r.arguments.get")
    answer = dev.get("/hello/Ada")
    assert answer.status_code == 500
    assert "AttributeError" in answer.json()["traceback"], "debug is on"
    assert "  500  " in dev.wait("endpoint.raised")
    assert dev.wait("AttributeError") == "  AttributeError: 'Request' object has no attribute 'arguments'"
    assert dev.wait("hello.py") == f"    {dev.folder}/endpoints/hello.py:13 in _invoke"
    assert "13 return Response((text.upper() if r.arguments.get" in dev.wait("> ")


def test_the_sandbox_is_on(dev: Dev) -> None:
    """Every layer that a service requires holds for what is being written, too."""
    assert dev.get("/hello/Ada").status_code == 200
    metrics = plain_http.get(f"{dev.admin}/metrics").text
    for layer in DEFAULT_REQUIRED:
        assert f'executor_isolation_layer{{layer="{layer}"}} 1.0\n' in metrics


def test_limits_that_were_come_near(folder: Path, tmp_path: Path) -> None:
    """The line names them; over the limit the outcome does."""
    source = folder / HELLO
    source.write_text(
        source.read_text().replace(
            "        text = ", "        kept = bytearray(int(values['name']) << 20)  # noqa\n        text = "
        )
    )
    with Dev(folder, "--limit", "memory=64MiB", state=tmp_path / "state") as dev:
        dev.wait("serving my_cat")
        assert dev.get("/hello/1").status_code == 200
        assert "near" not in dev.wait("GET ")
        assert dev.get("/hello/50").status_code == 200
        assert "  near: memory " in dev.wait("GET ")
        assert dev.get("/hello/200").status_code == 502
        assert "  502  " in dev.wait("limit.memory")


def test_the_end(dev: Dev) -> None:
    """Ctrl-C ends it with its processes and its copies; the copies of one that was killed go with the next start."""
    snapshots = dev.state / "snapshots"
    assert list(snapshots.iterdir())
    below = psutil.Process(dev.process.pid).children(recursive=True)
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(PATIENCE_S) == 0
    wait_ended(below)
    assert list(snapshots.iterdir()) == []
    with Dev(dev.folder, state=dev.state) as killed:
        killed.wait("serving")
        killed.process.kill()
        killed.process.wait()
    (orphan,) = snapshots.iterdir()
    with Dev(dev.folder, state=dev.state) as again:
        again.wait("serving")
        assert not orphan.exists()


def test_commands_to_be_copied(dev: Dev) -> None:
    """Each command that is printed works in a shell as it stands."""
    commands = [dev.wait("  curl ") for _ in range(3)]
    assert [shlex.split(command)[0] for command in commands] == ["curl"] * 3
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    answers = [
        subprocess.check_output(["/bin/sh", "-c", command], text=True, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    assert answers[0] == "Hello, name!\n"
    assert answers[1] == "1\ngo\n"
    assert "error" in answers[2]


def test_on_a_terminal(folder: Path, tmp_path: Path) -> None:
    """It asks for settings that are missing, without showing secrets, and uses colours."""
    group = folder / "group" / "my_cat.yaml"
    group.write_text(
        group.read_text().replace("type: secret-input\n    required: false", "type: secret-input\n    required: true")
    )
    controller, terminal = pty.openpty()
    command = [*COMMAND, "dev", str(folder), "--port", "0", "--state-dir", str(tmp_path / "state")]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env={**environment, "TERM": "xterm-256color"}
    )
    os.close(terminal)
    shown = b""
    for text, answer in ((b"Token of the webhook (token): ", b"s3cret\n"), (b"serving my_cat", b"")):
        while text not in shown:
            shown += os.read(controller, 4096)
        os.write(controller, answer)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    os.close(controller)
    assert b"s3cret" not in shown
    assert b"\x1b[" in shown


def test_what_cannot_be_served(tmp_path: Path) -> None:
    """No folder, or a configuration that is wrong: told, with status 1."""
    (tmp_path / "executor.yaml").write_text("listen: {port: lots}\n")
    for arguments, message in (
        ((tmp_path / "nothing",), f"error: {tmp_path}/nothing is no folder; `executor init {tmp_path}/nothing` begins"),
        ((tmp_path, "--config", tmp_path / "executor.yaml"), "executor.yaml:1:16: listen.port: "),
    ):
        command = [*COMMAND, "dev", *(str(argument) for argument in arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert ended.returncode == 1
        assert message in ended.stderr
