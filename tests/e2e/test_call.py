"""`executor call` runs one endpoint in a real worker, and says what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from tests.e2e.harness import COMMAND, LAB, wait_ended
from tests.environments import ordinary_user, python_for

pytestmark = pytest.mark.e2e

PATIENCE_S = 240


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep state of tests out of that of whoever runs them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


def call(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Call an endpoint of the lab."""
    command = [*COMMAND, "call", str(LAB), *(str(argument) for argument in arguments)]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "40"}
    return subprocess.run(command, input=stdin, capture_output=True, timeout=PATIENCE_S, check=False, env=environment)


def call_here(*arguments: str | Path) -> Result:
    """Call an endpoint in this process, for what fails before anything is started."""
    command = ["call", str(LAB), *(str(argument) for argument in arguments)]
    return CliRunner(env={"NO_COLOR": "1", "COLUMNS": "40"}).invoke(create_app(), command)


def said(ended: subprocess.CompletedProcess[bytes]) -> str:
    """What was said on standard error, without the plugin's warnings."""
    return "".join(f"{line}\n" for line in ended.stderr.decode().splitlines() if not line.startswith("warning: "))


def test_the_endpoint_sees_what_the_service_would_show_it() -> None:
    """Path values, query, headers, settings, hook: all as over HTTP; the answer alone is on standard output."""
    ended = call(
        "GET", "/info/7/Ad%C3%A4/6f9619ff-8b86-d011-b42d-00c04fc964ff/0.5?x=1", "-q", "y=a b", "-H", "X-One: 1"
    )
    info = json.loads(ended.stdout)
    assert info["values"]["number"] == ["int", "7"]
    assert info["values"]["name"] == ["str", "Adä"]
    assert info["query"] == "x=1&y=a+b"
    assert info["settings"]["greeting"] == "hello"
    assert dict(info["headers"])["X-One"] == "1"
    assert dict(info["headers"])["Dify-Hook-Id"] == "lab"
    assert said(ended) == ""
    assert ended.returncode == 0


def test_settings_from_everywhere(tmp_path: Path) -> None:
    """A file, then the command line; text becomes what the declaration says."""
    file = tmp_path / "values.yaml"
    file.write_text("greeting: from the file\ntoken: t\n")
    ended = call("GET", "/info", "--settings-file", file, "--set", "greeting=from the line", "--set", "shout=1")
    settings = json.loads(ended.stdout)["settings"]
    assert settings == {"greeting": "from the line", "token": "t", "shout": True}


def test_bodies(tmp_path: Path) -> None:
    """A text, a large file, and standard input of unknown length, each to the last byte."""
    data = os.urandom(3 * 1024**2 + 17)
    file = tmp_path / "body"
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert call("POST", "/echo", "-d", "a text").stdout == b"a text"
    assert digest.encode() in call("POST", "/digest", "-d", f"@{file}").stdout
    assert digest.encode() in call("POST", "/digest", "-d", "-", stdin=data).stdout
    output = tmp_path / "answer"
    assert call("POST", "/echo", "-d", f"@{file}", "-o", output).stdout == b""
    assert output.read_bytes() == data


def test_json_and_head() -> None:
    """`--json` says what it is; `-i` shows the head as a client gets it."""
    ended = call("POST", "/echo", "--json", '{"a": 1}', "-i")
    head, _, body = ended.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-invocation-id: " in head
    assert body == b'{"a": 1}'


def test_the_answer_comes_as_it_is_made() -> None:
    """The first piece of an endless answer is there while the endpoint goes on; Ctrl-C ends it and leaves nothing."""
    command = [
        "/usr/bin/env",
        "--default-signal=INT",
        *COMMAND,
        "call",
        str(LAB),
        "GET",
        "/forever",
    ]  # shells ignore it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1)
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        wait_ended(below)


def test_a_reader_that_has_seen_enough() -> None:
    """A closed pipe ends the invocation quietly."""
    command = [*COMMAND, "call", str(LAB), "GET", "/forever"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 1
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("path", "status", "code", "frame"),
    [
        ("/raise/runtime", 3, "endpoint.raised", "raising.py:14 in _invoke"),
        ("/raise/late", 3, "endpoint.body", "raising.py:25 in pieces"),
        ("/raise/value", 0, "endpoint.rejected", "raising.py:12 in _invoke"),
    ],
)
def test_exceptions(path: str, status: int, code: str, frame: str) -> None:
    """The client's answer on standard output; the exception with the plugin's own line on standard error."""
    ended = call("GET", path)
    assert ended.returncode == status
    lines = said(ended).splitlines()
    assert lines[0].startswith(f"{code}: ")
    assert lines[2].endswith(frame)
    assert any(line.strip().startswith(">") and "raise" in line for line in lines)
    if code == "endpoint.raised":
        assert json.loads(ended.stdout)["code"] == code
        assert b"internal secret" not in ended.stdout
    if code == "endpoint.rejected":
        assert ended.stdout == b"no such thing"
        assert call("GET", path, "--fail").returncode == 22


def test_limits() -> None:
    """A limit of the command line holds, is named, and has a status of its own."""
    ended = call("GET", "/forever", "--limit", "response_body=3B")
    assert ended.returncode == 4
    assert "limit.response_body: The response body is over the limit; the answer ends after " in said(ended)
    assert "near its limit: response_body " in said(ended)
    ended = call("GET", "/wait/60", "--limit", "wall_time=1s", "--limit", "cpu_time=1s")
    assert ended.returncode == 4
    assert "timeout.wall" in said(ended)


def test_used_and_allowed() -> None:
    """`--verbose` compares, limit by limit."""
    lines = said(call("GET", "/stream/10/100000", "-v", "--limit", "response_body=2MB")).splitlines()
    assert lines[0].startswith("200, 1000000 bytes: start ")
    table = {line.split()[0]: line for line in lines[1:]}
    assert table["response_body"].endswith("50%")
    assert table["memory"].split()[2] == "MiB"


def test_what_cannot_be_used(tmp_path: Path) -> None:
    """A file for the answer, one with fixtures, a folder for state: each is named, and nothing is run."""
    (tmp_path / "file").write_text("calls: 3\n")
    for arguments, message in (
        (("-o", tmp_path), f"error: the answer cannot be written to {tmp_path}: is a directory"),
        (("--fixtures", tmp_path / "nothing.yaml"), "nothing.yaml"),
        (("--fixtures", tmp_path / "file"), f"{tmp_path}/file:1:8: "),
        (
            ("--state-dir", tmp_path / "file" / "state"),
            f"error: the state directory {tmp_path}/file/state cannot be used",
        ),
        (("--settings-file", tmp_path / "nothing.yaml"), f"error: {tmp_path}/nothing.yaml: "),
    ):
        ended = call_here("GET", "/info", *arguments)
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.stdout == ""
        assert ended.exit_code == (6 if "--state-dir" in arguments else 1)


def test_what_is_not_there() -> None:
    """An unknown path, method or slash is explained without starting anything."""
    ended = call_here("GET", "/inf")
    assert ended.exit_code == 1
    assert "error: 404: no endpoint has the path /inf\nDid you mean GET /info?\nThe endpoints are:\n" in ended.stderr
    assert "error: 405: /echo does not take GET; it takes PATCH, POST, PUT\n" in call_here("GET", "/echo").stderr
    assert "error: 308: the service redirects to /slash/" in call_here("GET", "/slash").stderr


def test_calls_back_to_dify(tmp_path: Path) -> None:
    """They are answered from a file, in place of whoever the configuration names; without, by nobody."""
    fixtures = tmp_path / "fixtures.yaml"
    fixtures.write_text("calls:\n  - call: app\n    text: 'from the file: ${query}'\n")
    cat = Path(__file__).parent.parent.parent / "examples" / "talking_cat"
    settings = ("--set", 'app:={"app_id": "a"}', "--set", 'model:={"provider": "p", "model": "m", "model_type": "llm"}')
    command = [
        *COMMAND,
        "call",
        str(cat),
        "POST",
        "/chat",
        "-d",
        "hi",
        *settings,
        "--state-dir",
        str(tmp_path / "state"),
    ]
    ended = subprocess.run(
        [*command, "--fixtures", str(fixtures)], capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert ended.stdout == b"from the file: hi\n", ended.stderr
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 3
    assert b"endpoint.body" in ended.stderr


def test_as_an_ordinary_user() -> None:
    """Nothing here needs root: `nobody` may call, too, with state of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        python, user = python_for(folder), ordinary_user()
        command = [python, *COMMAND[1:], "call", str(LAB), "GET", "/files", "--state-dir", str(folder / "state")]
        ended = subprocess.run(
            command, capture_output=True, timeout=PATIENCE_S, check=False, cwd=folder, user=user, group=user,
            extra_groups=None if user is None else [], env={**os.environ, "HOME": name},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(b"/tmp/")
        assert (folder / "state").stat().st_uid == (user or os.geteuid())


def test_a_command_line_that_is_wrong() -> None:
    """Status 2, and what would have been right."""
    for arguments, message in (
        (("GET", "info"), "the path must begin with a slash, such as /info"),
        (("GET", "/info", "-H", "no header"), "a header is written 'Name: value'"),
        (("POST", "/echo", "-d", "@/nothing/here"), "the body cannot be read from /nothing/here"),
        (("POST", "/echo", "-d", "a", "--json", "{}"), "two bodies"),
    ):
        ended = call_here(*arguments)
        assert ended.exit_code == 2, arguments
        assert message in ended.stderr
        assert ended.stdout == ""
