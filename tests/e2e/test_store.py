"""The service and its store: opened at the start, closed at the end, and what is said when it cannot be used."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from executor.store.database import FILE
from executor.store.schema import HEAD
from executor.store.store import open_store
from tests import plain_http
from tests.e2e.harness import COMMAND, LAB, Executor
from tests.executor.store.support import make_plugin
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.e2e

MANIFEST = """
version: 0.0.1
type: plugin
author: tester
name: counter
label: {en_US: Counter}
description: {en_US: Counts its requests.}
icon: icon.svg
created_at: 2026-11-30T12:00:00Z
resource: {memory: 268435456, permission: {storage: {enabled: true, size: 1048576}, endpoint: {enabled: true}}}
plugins: {endpoints: [group.yaml]}
meta: {version: 0.0.1, arch: [amd64], runner: {language: python, version: "3.12", entrypoint: main}}
"""
GROUP = "endpoints: [{path: /, method: POST, extra: {python: {source: count.py}}}]\n"
COUNT = """
from dify_plugin import Endpoint
from werkzeug import Response


class Count(Endpoint):
    def _invoke(self, r, values, settings):
        storage = self.session.storage
        number = int(storage.get("number")) + 1 if storage.exist("number") else 1
        storage.set("number", b"%d" % number)
        return Response(str(number))
"""
ROUNDS = 2


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    """A plugin that counts its requests in its storage."""
    plugin = tmp_path / "counter"
    (plugin / "_assets").mkdir(parents=True)
    for name, text in {
        "manifest.yaml": MANIFEST,
        "group.yaml": GROUP,
        "count.py": COUNT,
        "_assets/icon.svg": "",
    }.items():
        (plugin / name).write_text(text)
    return plugin


def test_what_an_endpoint_has_stored_outlives_kill_9(counter: Path) -> None:
    """Of the service, while it serves: no number that a client was told of is given again."""
    told = 0

    def ask(url: str) -> None:
        nonlocal told
        with contextlib.suppress(httpx.HTTPError):
            while True:
                answer = plain_http.post(url)
                assert answer.status_code == 200, answer.text
                number = int(answer.text)
                assert number > told
                told = number
                if number >= enough:
                    reached.set()

    with Executor(counter) as executor:
        for _ in range(ROUNDS):
            enough, reached = told + 5, threading.Event()
            client = threading.Thread(target=ask, args=[f"{executor.url}/e/counter/"])
            client.start()
            assert reached.wait(240)
            executor.process.kill()
            executor.process.wait()
            client.join()
            executor.start()
        assert told >= 5 * ROUNDS


def test_the_store_is_open_while_the_service_runs() -> None:
    """Commands may use it at the same time; at the end its log is in the file."""
    with Executor(LAB) as executor:
        opened = {file.path for file in psutil.Process(executor.process.pid).open_files()}
        assert str(executor.state_dir / FILE) in opened
        with open_store(None, executor.state_dir) as store:
            store.plugins.add(make_plugin())
        executor.wait_metric("executor_store_up", 1)
        executor.stop()
        assert [path.name for path in executor.state_dir.glob(f"{FILE}*")] == [FILE]
        with open_store(None, executor.state_dir) as store:
            assert store.plugins.list() == (make_plugin(),)


def test_the_store_may_be_on_a_server(postgresql: PostgreSQL) -> None:
    """Its address comes from the environment."""
    url = postgresql.make_database()
    config = {"plugins": [str(LAB)], "store": {"url": {"from_env": "DATABASE"}}}
    with Executor(config=config, environment={"DATABASE": url}) as executor:
        name = url.partition("@/")[2].partition("?")[0]
        assert postgresql.execute("SELECT version_num FROM executor_revision", name) == [(HEAD,)]
        assert not list(executor.state_dir.glob(f"{FILE}*"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("{from_env: NOT_SET_AT_ALL}", "store.url: the environment variable NOT_SET_AT_ALL is not set"),
        ("{from_env: HOME}", "store.url: expected a URL such as postgresql://"),
        (
            "postgresql://user:hush@127.0.0.1:1/x",
            "the store postgresql+psycopg://user:***@127.0.0.1:1/x could not be used",
        ),
    ],
)
def test_a_store_that_cannot_be_used_ends_the_start(tmp_path: Path, url: str, message: str) -> None:
    """With one sentence, and without the password."""
    (tmp_path / "executor.yaml").write_text(f"plugins: [{LAB}]\nstore:\n  url: {url}\n")
    command = [*COMMAND, "serve", "--config", str(tmp_path / "executor.yaml"), "--port", "0"]
    command += ["--state-dir", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {message}")
    assert "hush" not in done.stdout + done.stderr
