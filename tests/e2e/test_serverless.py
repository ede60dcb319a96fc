"""A Dify daemon installs plugins in the real service, and calls them: a conversation from ping to drain."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from executor.packages.checksum import compute_checksum, format_identifier
from executor.packages.pack import pack_folder
from tests import plain_http
from tests.e2e.harness import LAB, Executor
from tests.e2e.test_installed import Commands
from tests.executor.catalog.plugins import GOOD
from tests.stand_ins.daemon import DaemonStandIn
from tests.stand_ins.daemon_client import ConnectorError, DaemonClient, Installed, PluginError, go_request
from tests.stand_ins.server import running

KEY: Final = "connector-key-of-the-tests"
CAT: Final = Path(__file__).parent.parent.parent / "examples" / "rainbow_cat"
TALKING_CAT: Final = CAT.parent / "talking_cat"

pytestmark = pytest.mark.e2e


def pack(folder: Path, author: str, name: str, version: str) -> tuple[bytes, str]:
    """Pack a plugin; the package and its identifier."""
    packed = pack_folder(folder)
    checksum = compute_checksum(packed.digests)
    return packed.data, format_identifier(author=author, name=name, version=version, checksum=checksum)


def make_executor(**section: Any) -> Executor:
    """A service that serves nothing but functions."""
    key = {"from_env": "CONNECTOR_KEY"}
    config = {"serverless": {"port": 0, "key": key, **section}}
    return Executor(config=config, environment={"CONNECTOR_KEY": KEY})


def make_daemon(executor: Executor, key: str = KEY) -> DaemonClient:
    """A daemon for it."""
    return DaemonClient(executor.wait_event("serverless.ready")["url"], key)


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """One for most of the tests."""
    with make_executor() as running:
        yield running
        assert not running.own_failures()


@pytest.fixture(scope="module")
def daemon(executor: Executor) -> Iterator[DaemonClient]:
    """Its daemon."""
    client = make_daemon(executor)
    yield client
    client.close()


@pytest.fixture(scope="module")
def cat(daemon: DaemonClient) -> Installed:
    """The example, installed."""
    return daemon.install(*pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0"))


@pytest.fixture(scope="module")
def lab(daemon: DaemonClient) -> Installed:
    """The plugin of the tests, installed."""
    return daemon.install(*pack(LAB, "lab", "lab", "0.0.1"))


def test_it_is_greeted(executor: Executor, daemon: DaemonClient) -> None:
    """With the key, by both methods, and not with another."""
    daemon.ping()
    url = executor.wait_event("serverless.ready")["url"]
    assert plain_http.get(f"{url}/ping", headers={"Authorization": KEY}).text == '"pong"\n'
    stranger = make_daemon(executor, "another key")
    with pytest.raises(ConnectorError, match="unauthorized"):
        stranger.ping()
    with pytest.raises(ConnectorError, match="unauthorized"):
        stranger.fetch("a@b@0.0.1@c.difypkg")
    with pytest.raises(ConnectorError, match=r"401 .*unauthorized"):
        stranger.install(b"package", "a/b:0.0.1@c", again=True)
    stranger.close()


def test_a_plugin_is_installed_and_called(daemon: DaemonClient, cat: Installed) -> None:
    """The daemon is told of progress and of a function, and finds it again; it streams."""
    assert cat.events == ["Building plugin...", "function", "function_url", "done"]
    package, identifier = pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0")
    found = daemon.install(package, identifier)
    assert (found.url, found.name, found.events) == (cat.url, cat.name, [])
    again = daemon.install(package, identifier, again=True)
    assert (again.url, again.name) == (cat.url, cat.name)
    assert again.events[-1] == "done"
    served = daemon.call(cat.url, go_request("GET", "/neko"))
    assert (served.status, served.error) == (200, None)
    assert len(served.pieces) > 2
    assert plain_http.get(f"{cat.url}/health").text == "OK"


def test_a_function_remembers_nobody() -> None:
    """Its workers are not kept for another tenant, although those of hooks are."""
    key = {"from_env": "CONNECTOR_KEY"}
    config = {"serverless": {"port": 0, "key": key}, "worker": {"max_invocations": 9, "after_response": "1s"}}
    with Executor(config=config, environment={"CONNECTOR_KEY": KEY}) as executor:
        daemon = make_daemon(executor)
        function = daemon.install(*pack(LAB, "lab", "lab", "0.0.1"))
        for _ in range(3):
            assert daemon.call(function.url, go_request("GET", "/status/200")).status == 200
        executor.wait_metric(f'executor_workers_taken_total{{hook="{function.name}",origin="reused"}}', 0)
        executor.wait_metric('executor_slots{state="kept"}', 0)
        daemon.close()


def test_what_an_endpoint_sees_is_what_the_daemon_passes_on(daemon: DaemonClient, lab: Installed) -> None:
    """Its path, query, headers, settings and body; the Host that the daemon says, and no proxy of ours."""
    request = go_request("POST", "/info?b=2&a=%20&flag=", b"caf\xc3\xa9", ("X-Many", "one"), ("X-Many", "two"))
    served = daemon.call(lab.url, request, {"nested": {"list": [1, 2.5, None, True]}})
    seen = json.loads(served.body)
    assert (seen["method"], seen["path"], seen["query"]) == ("POST", "/info", "b=2&a=%20&flag=")
    assert seen["url"] == "http://dify.example.org/info?b=2&a=%20&flag="
    assert seen["settings"] == {"nested": {"list": [1, 2.5, None, True]}}
    assert (seen["body"], seen["remote_addr"]) == ("café", None)
    headers = dict(seen["headers"])
    assert headers["Dify-Hook-Id"] == "abcdefghijklmnop"
    assert headers["Dify-Hook-Url"].startswith("http://dify.example.org/e/abcdefghijklmnop/info")
    assert "X-Forwarded-Proto" not in headers


def test_an_empty_body_is_empty(daemon: DaemonClient, lab: Installed) -> None:
    """Which Go writes as an empty chunk."""
    served = daemon.call(lab.url, go_request("POST", "/echo"))
    assert (served.status, served.body) == (200, b"")


def test_a_large_body_goes_both_ways(daemon: DaemonClient, lab: Installed) -> None:
    """As large as the daemon sends one, and what is larger than any line that it reads."""
    data = random.Random(1).randbytes(2_400_000)
    assert daemon.call(lab.url, go_request("POST", "/echo", data)).body == data
    assert daemon.call(lab.url, go_request("GET", "/body/large")).body == b"L" * (5 << 20)


def test_of_repeated_headers_the_last_one_counts(daemon: DaemonClient, lab: Installed) -> None:
    """As in Dify; those of the connection, and lengths, are left to the daemon."""
    served = daemon.call(lab.url, go_request("GET", "/headers"))
    assert served.headers["X-Many"] == "two"
    assert served.headers["Set-Cookie"].startswith("second=2")
    assert not {"connection", "transfer-encoding", "content-length"} & {name.lower() for name in served.headers}
    assert served.body == b"1234567890"


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "/nowhere", "404 Not Found"),
        ("DELETE", "/forever", "405 Method Not Allowed"),
        ("GET", "/slash", "308 Permanent Redirect: http://dify.example.org/slash/"),
    ],
)
def test_every_routing_failure_is_404(daemon: DaemonClient, lab: Installed, method: str, path: str, text: str) -> None:
    """With the words of the SDK."""
    served = daemon.call(lab.url, go_request(method, path))
    assert served.status == 404
    assert served.body.decode().startswith(f"Failed to dispatch endpoint request: {text}")


def test_what_an_endpoint_raises(daemon: DaemonClient, lab: Installed) -> None:
    """`ValueError` is a 404 with its text, everything else a 500 that tells nothing."""
    served = daemon.call(lab.url, go_request("GET", "/raise/value"))
    assert (served.status, served.body) == (404, b"no such thing")
    served = daemon.call(lab.url, go_request("GET", "/raise/runtime"))
    assert (served.status, json.loads(served.body)["code"]) == (500, "endpoint.raised")
    assert b"secret" not in served.body


@pytest.mark.parametrize(
    ("path", "error_type"),
    [("/return/dict", "endpoint.wrong_type"), ("/die/kill", "worker.crashed"), ("/raise/early", "endpoint.body")],
)
def test_what_fails_is_told_as_an_error(daemon: DaemonClient, lab: Installed, path: str, error_type: str) -> None:
    """Once: neither a status nor a broken connection has the daemon call again."""
    with pytest.raises(PluginError) as caught:
        daemon.call(lab.url, go_request("GET", path))
    assert caught.value.error_type == error_type
    assert "secret" not in str(caught.value)
    assert daemon.attempts == 1


def test_an_answer_that_is_broken_off_is_told(daemon: DaemonClient, lab: Installed) -> None:
    """Behind what has been sent, without a traceback."""
    served = daemon.call(lab.url, go_request("GET", "/raise/late"))
    assert (served.status, served.body) == (200, b"first")
    assert served.error is not None
    assert "secret" not in served.error.message


def test_other_actions_are_refused(daemon: DaemonClient, lab: Installed) -> None:
    """By an error event, as for a plugin that knows no such tool."""
    with pytest.raises(PluginError, match=r"ActionNotSupported: .*invoke_tool"):
        daemon.call(lab.url, b"", action="invoke_tool")


def test_a_worker_ends_when_the_daemon_goes_away(executor: Executor, daemon: DaemonClient, lab: Installed) -> None:
    """Though the endpoint would stream for ever."""

    class GoneError(Exception):
        pass

    def leave(_: bytes) -> None:
        executor.wait_workers(1, rule="/forever")
        raise GoneError

    with pytest.raises(GoneError):
        daemon.call(lab.url, go_request("GET", "/forever"), on_piece=leave)
    executor.wait_workers(0)
    assert executor.wait_event("invocation", rule="/forever")["outcome"] == "client.gone"


def test_a_session_is_served_once(daemon: DaemonClient, lab: Installed) -> None:
    """The daemon calls again when a connection breaks, and an endpoint that has run must not run again."""
    assert daemon.call(lab.url, go_request("POST", "/echo"), session_id="only-once").status == 200
    with pytest.raises(PluginError, match="SessionRepeated"):
        daemon.call(lab.url, go_request("POST", "/echo"), session_id="only-once")
    assert daemon.attempts == 1


def test_a_stranger_finds_no_function(daemon: DaemonClient, lab: Installed) -> None:
    """Its URL is its secret."""
    with pytest.raises(PluginError, match="FunctionNotFound"):
        daemon.call(lab.url[:-1] + ("a" if lab.url[-1] != "a" else "b"), go_request("POST", "/echo"))


def test_packages_that_are_refused(daemon: DaemonClient, tmp_path: Path) -> None:
    """Broken ones, others than the daemon says, and plugins without endpoints, with the reason."""
    package, identifier = pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0")
    with pytest.raises(ConnectorError, match="no zip archive"):
        daemon.install(package[:-40], identifier.replace("0.1.0", "0.1.1"))
    with pytest.raises(ConnectorError, match="and the daemon calls it"):
        daemon.install(package, identifier.replace("0.1.0", "0.1.1"))
    make_keeper(tmp_path)
    manifest = (tmp_path / "manifest.yaml").read_text().replace("endpoints:", "tools:")
    (tmp_path / "manifest.yaml").write_text(manifest)
    with pytest.raises(ConnectorError, match="endpoints"):
        daemon.install(*pack(tmp_path, "tester", "cat", "0.0.1"))


def test_load_is_told_by_a_status_that_is_not_tried_again() -> None:
    """429 for the second of two calls of a function that serves one."""
    config = {
        "serverless": {"port": 0, "key": KEY},
        "limits": {"concurrency": 1, "queue_length": 0},
    }
    with Executor(config=config) as executor:
        daemon = make_daemon(executor)
        lab = daemon.install(*pack(LAB, "lab", "lab", "0.0.1"))
        refused = []

        def call_again(_: bytes) -> None:
            with pytest.raises(PluginError) as caught, contextlib.closing(make_daemon(executor)) as second:
                second.call(lab.url, go_request("POST", "/echo"))
            refused.append(caught.value)
            raise ConnectionError

        with pytest.raises(ConnectionError):
            daemon.call(lab.url, go_request("GET", "/forever"), on_piece=call_again)
        assert refused[0].arguments == {"status_code": 429}
        daemon.close()


def test_calls_back_go_to_the_daemon(tmp_path: Path) -> None:
    """With the session of the request, which the endpoint does not see; what it stores is kept there too."""
    back = DaemonStandIn("session-of-the-request")
    with running(back) as url, make_executor(daemon={"url": url}) as executor:
        daemon = make_daemon(executor)
        cat = daemon.install(*pack(TALKING_CAT, "endpoint-executor", "talking_cat", "0.1.0"))
        served = daemon.call(
            cat.url,
            go_request("POST", "/chat", b"one two"),
            {"app": {"app_id": "app-1"}},
            session_id="session-of-the-request",
        )
        assert (served.status, served.error) == (200, None)
        (call,) = back.calls
        assert (call["type"], call["session_id"]) == ("app", "session-of-the-request")
        assert call["request"]["query"] == "one two"
        keeper = daemon.install(*make_keeper(tmp_path))
        back.sessions.add("another-session")
        served = daemon.call(keeper.url, go_request("POST", "/keep", b"purr"), session_id="another-session")
        kept, session_id = served.body.decode().split()
        assert kept == "purr"
        assert session_id != "another-session"
        assert executor.invocation(session_id)["outcome"] == "ok"
        assert back.storage == {"key": b"purr"}
        daemon.close()
        assert not executor.own_failures()


def test_functions_outlive_the_service() -> None:
    """Even its violent end, at the same URL, with nothing to be launched again."""
    with make_executor() as executor:
        daemon = make_daemon(executor)
        before = daemon.install(*pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0"))
        executor.process.kill()
        executor.process.wait()
        executor.start()
        daemon.close()
        daemon = make_daemon(executor)
        after = daemon.install(*pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0"))
        assert (after.name, after.events) == (before.name, [])
        assert after.url.rpartition("/")[2] == before.url.rpartition("/")[2]
        assert daemon.call(after.url, go_request("GET", "/neko")).status == 200
        daemon.close()


def test_functions_that_nobody_calls_are_removed() -> None:
    """With their files, after the time that is configured; others stay."""
    with make_executor(keep_time="1h") as executor:
        daemon = make_daemon(executor)
        daemon.install(*pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0"))
        daemon.install(*pack(LAB, "lab", "lab", "0.0.1"))
        kept = executor.state_dir / "serverless"
        (record,) = (kept / "functions").glob("sri-rainbow_cat-*.json")
        os.utime(record, (0, 0))
        executor.stop()
        executor.start()
        daemon.close()
        assert executor.wait_event("serverless.removed")["function"] == record.stem
        executor.wait_event("serverless.files_removed")
        assert [path.name for path in (kept / "plugins").glob("[!.]*")] == ["lab"]
        daemon = make_daemon(executor)
        assert daemon.install(*pack(LAB, "lab", "lab", "0.0.1")).events == []
        assert (
            daemon.call(daemon.install(*pack(LAB, "lab", "lab", "0.0.1")).url, go_request("POST", "/echo")).status
            == 200
        )
        again = daemon.install(*pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0"))
        assert (again.events[-1], again.url.count("/f/")) == ("done", 1)
        daemon.close()


def test_a_function_is_removed_by_a_command() -> None:
    """At once: what runs goes on to its end, the URL is gone, and so are the files; Dify may install it again."""
    with make_executor() as executor, contextlib.closing(make_daemon(executor)) as daemon:
        command = Commands(executor)
        packages = [pack(CAT, "endpoint-executor", "rainbow_cat", "0.1.0"), pack(LAB, "lab", "lab", "0.0.1")]
        cat, lab = (daemon.install(*package) for package in packages)
        listed = command.json("function", "list")["functions"]
        assert [one["name"] for one in listed] == [lab.name, cat.name]

        def remove(piece: bytes) -> None:
            if not removed:
                removed.append(command("function", "remove", "rainbow_cat"))

        removed: list[str] = []
        neko = daemon.call(cat.url, go_request("GET", "/neko"), on_piece=remove)
        assert removed == [f"removed {listed[1]['identifier']}\n"]
        assert (neko.status, neko.error) == (200, None)
        assert executor.wait_event("serverless.removed")["function"] == cat.name
        with pytest.raises(PluginError, match="FunctionNotFound"):
            daemon.call(cat.url, go_request("GET", "/neko"))
        command("function", "remove", lab.name)
        assert not list((executor.state_dir / "serverless").glob("plugins/*/*/*"))
        again = daemon.install(*packages[0])
        assert again.url != cat.url
        assert daemon.call(again.url, go_request("GET", "/neko")).status == 200
        assert not executor.own_failures()


KEEPER: Final = """\
from dify_plugin import Endpoint
from werkzeug import Request, Response


class Keeper(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        self.session.storage.set("key", r.get_data())
        return Response(self.session.storage.get("key") + b" " + self.session.session_id.encode())
"""


def make_keeper(folder: Path) -> tuple[bytes, str]:
    """Make a plugin that stores something, and reads it."""
    storage = "  memory: 268435456\n  permission:\n    storage:\n      enabled: true\n      size: 1048576\n"
    files = {
        **GOOD,
        "manifest.yaml": str(GOOD["manifest.yaml"]).replace("  memory: 268435456\n", storage),
        "endpoints/cat.yaml": "path: /keep\nmethod: POST\nextra:\n  python:\n    source: endpoints/cat.py\n",
        "endpoints/cat.py": KEEPER,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(content))
    return pack(folder, "tester", "cat", "0.0.1")
