"""Launches by a daemon: builds, failures, several at once, and the end of the service meanwhile."""

from __future__ import annotations

import contextlib
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.e2e.test_serverless import KEY, make_daemon, pack
from tests.executor.catalog.plugins import GOOD
from tests.stand_ins.daemon_client import ConnectorError, PluginError, go_request

VERSION: Final = f"3.{sys.version_info.minor}"

SOURCE: Final = """\
from importlib.metadata import version

from dify_plugin import Endpoint
from werkzeug import Response


class Cat(Endpoint):
    def _invoke(self, r, values, settings) -> Response:
        return Response(version("dify_plugin"))
"""

pytestmark = pytest.mark.e2e


def make_plugin(folder: Path, **files: str) -> tuple[bytes, str]:
    """Pack a plugin whose files differ from the good one's."""
    named = {"requirements": "requirements.txt", "source": "endpoints/cat.py"}
    manifest = str(GOOD["manifest.yaml"]).replace('"3.12"', f'"{VERSION}"')
    changed = {named[name]: content for name, content in files.items()}
    for name, content in {**GOOD, "manifest.yaml": manifest, **changed}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(content))
    return pack(folder, "tester", "cat", "0.0.1")


def serve(**config: Any) -> Executor:
    """A service for a daemon."""
    return Executor(config={"serverless": {"port": 0, "key": KEY}, **config})


def test_an_environment_is_built_and_its_progress_told(tmp_path: Path) -> None:
    """With the real SDK that the plugin names; the next start of the service finds it again."""
    package = make_plugin(tmp_path, requirements="dify_plugin==0.7.4\n", source=SOURCE)
    with serve(environments={"default": "own"}) as executor, contextlib.closing(make_daemon(executor)) as daemon:
        cat = daemon.install(*package)
        assert cat.events.count("Building plugin...") > 2
        assert any("dify" in event["detail"] for event in executor.events("serverless.build"))
        assert daemon.call(cat.url, go_request("GET", "/cat/a"), {"token": "t"}).body == b"0.7.4"
        executor.stop()
        executor.start()
        with contextlib.closing(make_daemon(executor)) as again:
            found = again.install(*package)
            assert again.call(found.url, go_request("GET", "/cat/a"), {"token": "t"}).body == b"0.7.4"
        assert not executor.events("serverless.build")  # of the second start, whose log it is


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    """To whoever installs, with the cause; nothing of it can be called."""
    package, identifier = make_plugin(tmp_path, requirements="surely-there-is-no-such-package\n")
    with serve(environments={"default": "own"}) as executor, contextlib.closing(make_daemon(executor)) as daemon:
        with pytest.raises(ConnectorError, match="surely-there-is-no-such-package"):
            daemon.install(package, identifier)
        assert daemon.fetch(f"tester@cat@0.0.1@{identifier.rpartition('@')[2]}.difypkg") is None
        assert not executor.own_failures()


def test_what_no_worker_can_import_is_told(tmp_path: Path) -> None:
    """As it is for hooks."""
    package = make_plugin(tmp_path, source=SOURCE.replace("from importlib.metadata", "from no_such_module"))
    with serve() as executor, contextlib.closing(make_daemon(executor)) as daemon:
        with pytest.raises(ConnectorError, match="no_such_module"):
            daemon.install(*package)
        executor.wait_metric('executor_slots{state="busy"}', 0)
        assert not executor.own_failures()


def test_many_may_ask_for_the_same_at_once(tmp_path: Path) -> None:
    """All of them get the same function, which is made once."""
    package = make_plugin(tmp_path)
    with serve() as executor, ThreadPoolExecutor(5) as pool:
        daemons = [make_daemon(executor) for _ in range(5)]
        found = list(pool.map(lambda daemon: daemon.install(*package, again=True), daemons))
        assert len({(one.url, one.name) for one in found}) == 1
        assert len(list((executor.state_dir / "serverless" / "functions").iterdir())) == 1
        for daemon in daemons:
            daemon.close()


def test_the_number_of_functions_is_bounded(tmp_path: Path) -> None:
    """One more is refused; one that is there can be launched again."""
    first, second = make_plugin(tmp_path / "one"), make_plugin(tmp_path / "two", requirements="dify_plugin\n")
    config = {"serverless": {"port": 0, "key": KEY, "functions": 1}}
    with Executor(config=config) as executor, contextlib.closing(make_daemon(executor)) as daemon:
        daemon.install(*first)
        with pytest.raises(ConnectorError, match=r"no room for another function: serverless\.functions is 1"):
            daemon.install(*second)
        daemon.install(*first, again=True)


def test_calls_end_with_the_service(tmp_path: Path) -> None:
    """An answer that is under way is broken off with an error; a start with a changed key asks for that one."""
    forever = SOURCE.replace('Response(version("dify_plugin"))', 'Response(iter(lambda: "x" * 1000, None))')
    package = make_plugin(tmp_path, source=forever)
    with serve(drain={"grace_time": "0s"}) as executor, contextlib.closing(make_daemon(executor)) as daemon:
        cat = daemon.install(*package)
        stopped: list[bool] = []

        def stop(_: bytes) -> None:
            if not stopped:
                executor.process.terminate()
                stopped.append(True)

        served = daemon.call(cat.url, go_request("GET", "/cat/a"), {"token": "t"}, on_piece=stop)
        assert served.error is not None
        assert executor.process.wait(120) == 0
        assert not executor.own_failures()


def test_strangers_and_broken_daemons() -> None:
    """Get a refusal, and nothing is kept for them."""
    with serve() as executor:
        url = executor.wait_event("serverless.ready")["url"]
        with plain_http.client(base_url=url) as client:
            for path in ("/ping", "/v1/launch", "/v1/runner/instances", "/", "/e/lab", "/metrics"):
                assert client.post(path, content=b"x" * 100_000).status_code == 401, path
                assert client.post(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 401, path
            client.headers["Authorization"] = KEY
            assert client.get("/").status_code == 404
            assert client.put("/ping").status_code == 404
            assert client.post("/v1/launch", json={}).status_code == 400
            assert client.get("/v1/runner/instances").json() == {"items": [], "error": ""}
            assert client.get("/v1/runner/instances?filename=a&filename=b").json()["items"] == []
            assert client.get("/v1/runner/instances?" + "a=b&" * 9 + "filename=a").json() == {"items": [], "error": ""}
            crowded = client.get("/v1/runner/instances?" + "a=b&" * 10 + "filename=a")
            assert (crowded.status_code, crowded.json()["items"]) == (400, [])
            assert crowded.json()["error"] == "the query has more than 10 fields; one is asked for, filename"
            for path in ("/f/", "/f/abc", "/f/abc/invoke", "/f/" + "a" * 32 + "/invoke", "/f/%00/invoke"):
                assert client.post(path, json={}).json()["errorType"] == "FunctionNotFound", path
        assert not executor.own_failures()


def test_calls_that_are_none(tmp_path: Path) -> None:
    """Are told so by a status that is not tried again."""
    config = {"serverless": {"port": 0, "key": KEY, "request_size": "100 KiB"}}
    with Executor(config=config) as executor, contextlib.closing(make_daemon(executor)) as daemon:
        cat = daemon.install(*make_plugin(tmp_path))
        with plain_http.client(base_url=cat.url) as client:
            for content in (b"", b"{", b"[]", b"[" * 90_000, b'{"event": "request"}'):
                answer = client.post("/invoke?action=invoke_endpoint", content=content)
                assert (answer.status_code, answer.json()["errorType"]) == (400, "BadCall")
            assert client.post("/invoke", content=b"x" * 200_000).status_code == 413
            assert client.get("/invoke").status_code == 404
            assert client.post("/health").status_code == 404
        assert daemon.call(cat.url, b"GET / HTTP/1.1\r\n\r\n").status == 400
        assert daemon.call(cat.url, go_request("GET", "/" + "a" * 20_000)).status == 414
        with pytest.raises(PluginError, match="more than 102400 bytes"):
            daemon.call(cat.url, go_request("POST", "/cat/a", b"x" * 100_000))
        deep: Any = 1
        for _ in range(100):
            deep = [deep]
        served = daemon.call(cat.url, go_request("GET", "/cat/a"), {"deep": deep})
        assert (served.status, b"settings" in served.body) == (400, True)
        assert daemon.call(cat.url, go_request("GET", "/cat/a"), {"token": "t"}).body == b"purr"
        assert not executor.own_failures()


def test_memory_of_calls_is_bounded(tmp_path: Path) -> None:
    """While one is coming in that may take all of it, another one is turned away, and is served later."""
    section = {"port": 0, "key": KEY, "request_size": "1 MiB", "memory": "1 MiB"}
    config = {"serverless": section, "admission": {"queue_time": "200ms"}}
    with Executor(config=config) as executor, contextlib.closing(make_daemon(executor)) as daemon:
        cat = daemon.install(*make_plugin(tmp_path))
        url = httpx.URL(cat.url)
        with socket.create_connection((url.host, url.port or 0), timeout=120) as slow:
            slow.sendall(f"POST {url.path}/invoke HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{{".encode())
            refused = None
            while refused is None:  # until the slow one has come as far as that
                try:
                    daemon.call(cat.url, go_request("GET", "/cat/a"), {"token": "t"})
                except PluginError as error:
                    refused = error
            assert "queue.full" in refused.message
            assert refused.arguments == {"status_code": 503}
        while True:  # until the service has seen that it is gone
            with contextlib.suppress(PluginError):
                assert daemon.call(cat.url, go_request("GET", "/cat/a"), {"token": "t"}).body == b"purr"
                return
