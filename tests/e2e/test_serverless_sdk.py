"""The real SDK's own serverless server beside ours: a daemon cannot tell them apart, but for what is better here.

Both run the plugin of the tests, and are called by the same stand-in for a daemon.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import LAB, Executor
from tests.e2e.test_serverless import KEY, make_daemon, pack
from tests.environments import build_environment, find_pythons
from tests.stand_ins.daemon_client import DaemonClient, PluginError, Served, go_request

PYTHON: Final = next(version for version in ("3.12", "3.13", "3.14", "3.11") if version in find_pythons())
SDK: Final = "0.10.2" if PYTHON != "3.11" else "0.7.4"  # later ones need Python 3.12
RUN: Final = "from dify_plugin import DifyPluginEnv, Plugin; Plugin(DifyPluginEnv()).run()"
START_TIME_S: Final = 120

OURS: Final = {"content-length", "transfer-encoding", "connection", "x-invocation-id"}
"""Headers that the SDK passes on, and the daemon would have to clear away; we leave them out."""

JSON: Final = ("Content-Type", "application/json")

pytestmark = [pytest.mark.e2e, pytest.mark.sdk]


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    """The URL of the SDK's server, with the plugin of the tests."""
    environment = build_environment(f"dify_plugin=={SDK}", "msgpack==1.0.8", python=find_pythons()[PYTHON])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "INSTALL_METHOD": "serverless",
        "SERVERLESS_HOST": "127.0.0.1",
        "SERVERLESS_PORT": str(port),
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [str(environment / "bin" / "python"), "-c", RUN]
    process = subprocess.Popen(command, cwd=LAB, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START_TIME_S
    while True:
        try:
            assert plain_http.get(f"{url}/health").text == "OK"
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < deadline
        else:
            return


@pytest.fixture(scope="module")
def both(theirs: str) -> Iterator[tuple[DaemonClient, str, str]]:
    """A daemon, the SDK's server, and our function."""
    with Executor(config={"serverless": {"port": 0, "key": KEY}}) as executor:
        daemon = make_daemon(executor)
        yield daemon, theirs, daemon.install(*pack(LAB, "lab", "lab", "0.0.1")).url
        daemon.close()
        assert not executor.own_failures()


def visible(served: Served, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """What the client of the daemon sees: Go's server drops bodies where HTTP has none."""
    headers = {name.lower(): value for name, value in served.headers.items() if name.lower() not in OURS}
    return served.status, headers, b"" if raw.startswith(b"HEAD") or served.status in {204, 304} else served.body


@pytest.mark.parametrize(
    "raw",
    [
        go_request("GET", "/body/str"),
        go_request("GET", "/body/bytes"),
        go_request("GET", "/body/empty"),
        go_request("GET", "/body/none"),
        go_request("GET", "/body/list"),
        go_request("GET", "/body/tuple"),
        go_request("GET", "/body/dict"),
        go_request("GET", "/body/iterator"),
        go_request("GET", "/body/generator"),
        go_request("GET", "/body/empty-generator"),
        go_request("HEAD", "/body/str"),
        go_request("GET", "/stream/7/1000"),
        go_request("GET", "/status/201"),
        go_request("GET", "/status/204"),
        go_request("GET", "/status/302"),
        go_request("GET", "/status/418"),
        go_request("GET", "/headers"),
        go_request("POST", "/echo", b"\x00\xff" * 5000, ("Content-Type", "application/x-odd")),
        go_request("GET", "/raise/value"),
        go_request("GET", "/nowhere"),
        go_request("GET", "/nowhere?q=1"),
        go_request("DELETE", "/forever"),
        go_request("GET", "/slash"),
        go_request("GET", "/slash?q=%20"),
        go_request("PROPFIND", "/echo"),
    ],
    ids=lambda raw: raw.partition(b" HTTP")[0].decode(),
)
def test_a_client_sees_the_same(both: tuple[DaemonClient, str, str], raw: bytes) -> None:
    """Status, headers and body."""
    daemon, theirs, ours = both
    assert visible(daemon.call(ours, raw), raw) == visible(daemon.call(theirs, raw), raw)


@pytest.mark.parametrize(
    "raw",
    [
        go_request("GET", "/info"),
        go_request("GET", "/info?b=2&a=%20&a=1&flag="),
        go_request("GET", "//slash/"),
        go_request("GET", "/deep/a//b"),
        go_request("GET", "/deep/caf%C3%A9%20"),
        go_request("GET", "/info/7/a%20b/00000000-0000-0000-0000-000000000001/1.5"),
        go_request("GET", "/info", None, ("Cookie", "a=1; b=2"), ("X-Forwarded-Proto", "https")),
        go_request("POST", "/info", "gr\xfc\xdfe".encode(), ("Content-Type", "text/plain; charset=utf-8")),
        go_request("GET", "/info", host="dify.example.org:8443"),
    ],
    ids=lambda raw: raw.partition(b" HTTP")[0].decode(),
)
def test_an_endpoint_sees_the_same(both: tuple[DaemonClient, str, str], raw: bytes) -> None:
    """Of its request, its settings and the values of its path."""
    daemon, theirs, ours = both
    seen = [json.loads(daemon.call(url, raw, {"a": [1, None]}).body) for url in (theirs, ours)]
    for one in seen:
        one["headers"] = sorted(map(tuple, one["headers"]))
        for name in ("pid", "cwd", "environ", "path0", "descriptors"):
            del one[name]
    assert seen[1] == seen[0]


@pytest.mark.parametrize("path", ["/body/bad-first-item", "/raise/early", "/return/dict", "/return/none"])
def test_the_daemon_is_told_of_the_same_failures(both: tuple[DaemonClient, str, str], path: str) -> None:
    """As errors before there is a body; what they say differs, for ours tell nothing of the plugin."""
    daemon, theirs, ours = both
    for url in (theirs, ours):
        with pytest.raises(PluginError):
            daemon.call(url, go_request("GET", path))


@pytest.mark.parametrize("path", ["/body/bad-item", "/raise/late"])
def test_a_failure_in_mid_answer_is_told_behind_it(both: tuple[DaemonClient, str, str], path: str) -> None:
    """After the same pieces."""
    daemon, theirs, ours = both
    raw = go_request("GET", path)
    expected, found = daemon.call(theirs, raw), daemon.call(ours, raw)
    assert visible(found, raw) == visible(expected, raw)
    assert expected.error is not None
    assert found.error is not None
    assert "traceback" in expected.error.arguments
    assert "traceback" not in found.error.arguments


def test_what_is_better_here(both: tuple[DaemonClient, str, str]) -> None:
    """An empty body is empty; what an exception says stays here; a header may be any bytes."""
    daemon, theirs, ours = both
    empty = go_request("POST", "/echo")
    assert daemon.call(theirs, empty).body == b"0\r\n\r\n"
    assert daemon.call(ours, empty).body == b""
    raising = go_request("GET", "/raise/runtime")
    expected, found = daemon.call(theirs, raising), daemon.call(ours, raising)
    assert (expected.status, found.status) == (500, 500)
    assert b"internal secret" in expected.body
    assert b"internal secret" not in found.body
    odd = go_request("GET", "/info", None, ("X-Text", "caf\xe9"))
    with pytest.raises(PluginError, match="UnicodeDecodeError"):
        daemon.call(theirs, odd)
    assert daemon.call(ours, odd).status == 200


def test_other_actions_are_errors_with_both(both: tuple[DaemonClient, str, str]) -> None:
    """The SDK knows no such tool; we know no tools."""
    daemon, theirs, ours = both
    for url in (theirs, ours):
        with pytest.raises(PluginError) as caught:
            daemon.call(url, b"", action="invoke_tool")
        assert caught.value.error_type != "PluginRuntimeError"


def test_lines_are_alike(both: tuple[DaemonClient, str, str]) -> None:
    """Byte by byte, but for what differs from call to call. One piece of body: two that come together are one here."""
    daemon, theirs, ours = both
    lines = [daemon.read_lines(url, go_request("GET", "/stream/1/3")) for url in (theirs, ours)]
    expected, found = (re.sub(rb'"headers":\{[^}]*\}', b"", text) for text in lines)
    assert found == expected
