"""Plugins with the real Dify SDK, each in an environment of its own, served by the real service.

By default the newest SDK and an old one; `make test-sdk` takes every version.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests import plain_http
from tests.e2e.harness import Executor
from tests.environments import build_environment, find_pythons

PLUGIN: Final = Path(__file__).parent.parent / "plugins" / "sdk"

PYTHON: Final = next(version for version in ("3.12", "3.13", "3.14", "3.11") if version in find_pythons())
"""Dify runs plugins with 3.12."""

OLD: Final = "0.0.1b72"
NEW: Final = "0.10.2" if PYTHON != "3.11" else "0.7.4"  # later ones need Python 3.12
BETWEEN: Final = (
    *(f"0.0.1b{number}" for number in range(73, 78)),
    *("0.1.0", "0.2.0", "0.2.1", "0.2.2", "0.2.4", "0.3.0", "0.3.1", "0.3.2", "0.3.3", "0.3.4", "0.3.5"),
    *("0.4.0", "0.4.1", "0.4.2", "0.4.3", "0.4.4", "0.4.5", "0.5.0", "0.5.1", "0.6.0", "0.6.1", "0.6.2"),
    *("0.7.0", "0.7.1", "0.7.2", "0.7.3", "0.7.4", "0.8.0", "0.9.0", "0.9.1", "0.10.0", "0.10.1"),
)
"""Versions that were released, besides the oldest and the newest; without test versions of later ones."""

EXTRA: Final = ("msgpack==1.0.8",)
"""What the plugin has besides the SDK: another version than ours."""

pytestmark = pytest.mark.e2e


MANIFEST: Final = """
version: 0.0.1
type: plugin
author: tests
name: small
label: {en_US: Small}
description: {en_US: Small}
icon: icon.svg
created_at: 2026-11-30T12:00:00Z
resource: {memory: 1048576, permission: {}}
plugins: {endpoints: [group.yaml]}
meta: {version: 0.0.1, arch: [amd64], runner: {language: python, version: "3.12", entrypoint: main}}
"""
GROUP: Final = "endpoints: [{path: /, method: GET, extra: {python: {source: small.py}}}]"
SOURCE: Final = """
import sys
from dify_plugin import Endpoint
from werkzeug import Response

class Small(Endpoint):
    def _invoke(self, r, values, settings):
        return Response(f"{sys.version_info[1]} {'just_installed' in sys.modules}")
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A plugin that tells whether its zygote has imported something, in Python that not every version understands."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "manifest.yaml").write_text(MANIFEST)
    (folder / "group.yaml").write_text(GROUP)
    (folder / "small.py").write_text(SOURCE)
    for path in (tmp_path, folder, *folder.iterdir()):
        path.chmod(0o755)
    return folder


def test_a_reload_sees_a_changed_environment(small: Path, tmp_path: Path) -> None:
    """What has been installed is there for new requests; without a change nothing is started anew."""
    environment = tmp_path / "environment"
    shutil.copytree(build_environment("werkzeug>=3"), environment, symlinks=True)
    with Executor(config={"plugins": [{"path": str(small), "environment": str(environment)}]}) as service:
        assert plain_http.get(f"{service.url}/e/small/").text.endswith("False")
        service.process.send_signal(signal.SIGHUP)
        service.wait_event("service.reloaded")
        assert len(service.events("environment.ready")) == 1

        (packages,) = environment.glob("lib/python3.*/site-packages")
        (packages / "just_installed.py").write_text("")
        (packages / "just_installed.pth").write_text("import just_installed\n")
        service.process.send_signal(signal.SIGHUP)
        while plain_http.get(f"{service.url}/e/small/").text.endswith("False"):
            assert service.process.poll() is None
        assert len(service.events("environment.ready")) == 2


@pytest.mark.skipif(PYTHON != "3.12", reason="the source is for Python 3.12, which is not here")
def test_a_source_that_only_the_plugins_python_understands(small: Path) -> None:
    """It is served; where the executor's own Python cannot read it, a warning says that it was not checked."""
    nested = 'f"{\'a\' if True else "b"}"'
    (small / "small.py").write_text(SOURCE.replace('")', " {" + nested + '}")'))
    environment = build_environment("werkzeug>=3", python=find_pythons()["3.12"])
    with Executor(config={"plugins": [{"path": str(small), "environment": str(environment)}]}) as service:
        assert plain_http.get(f"{service.url}/e/small/").text == "12 False a"


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        (None, "is no virtual environment"),
        ((), "has no werkzeug, and so no Dify SDK: name dify_plugin among the plugin's requirements"),
    ],
)
def test_an_environment_that_is_not_fit(small: Path, requirements: tuple[str, ...] | None, told: str) -> None:
    """The start fails, and says what is wrong and what to do."""
    environment = small if requirements is None else build_environment(*requirements)
    with pytest.raises(AssertionError, match=told) as caught:
        Executor(config={"plugins": [{"path": str(small), "environment": str(environment)}]}).__enter__()
    assert str(environment) in str(caught.value)


def needs_later_python(version: str) -> bool:
    """Whether this SDK cannot be installed for the Python that is here."""
    return PYTHON == "3.11" and version not in {NEW, OLD} and BETWEEN.index(version) > BETWEEN.index("0.7.4")


@pytest.fixture(
    scope="module",
    params=[OLD, NEW, *(pytest.param(version, marks=pytest.mark.sdk) for version in BETWEEN if version != NEW)],
)
def version(request: pytest.FixtureRequest) -> str:
    """The version of the SDK."""
    version: str = request.param
    if needs_later_python(version):
        pytest.skip(f"dify_plugin {version} needs Python 3.12, and there is only {PYTHON}")
    return version


@pytest.fixture(scope="module")
def environment(version: str) -> Path:
    """An environment with it."""
    return build_environment(f"dify_plugin=={version}", *EXTRA, python=find_pythons()[PYTHON])


@pytest.fixture(scope="module")
def service(environment: Path) -> Iterator[Executor]:
    """The plugin, served in that environment."""
    with Executor(config={"plugins": [{"path": str(PLUGIN), "environment": str(environment)}]}) as executor:
        yield executor
        assert executor.own_failures() == []


@pytest.fixture(scope="module")
def client(service: Executor) -> Iterator[httpx.Client]:
    """A client of the hook."""
    with plain_http.client(base_url=f"{service.url}/e/sdk") as client:
        yield client


def test_session(client: httpx.Client) -> None:
    """All attributes that plugins read, and every way back to Dify."""
    answer = client.get("/session")
    found = answer.json()

    assert found["session_id"] == answer.headers["x-invocation-id"]
    assert found["endpoint_id"] == "sdk"
    assert [found[name] for name in ("conversation_id", "message_id", "app_id", "dify_plugin_daemon_url")] == [None] * 4
    assert found["install_method"] == "local"
    assert (found["app.chat"], found["tool"], found["file"]) == ("ChatAppInvocation", "ToolInvocation", "File")


def test_imports(client: httpx.Client) -> None:
    """Invocations, entities, `DifyPluginEnv` with its `.env`, and the classes of flask."""
    answer = client.get("/imports")

    assert answer.status_code == 201, answer.text
    assert answer.json() == {
        "made": 16,
        "env": [120, "from-dot-env", False],
        "model": ["llm", "llm", "hello"],
        "others": ["Plugin", "Tool", "ToolProvider", "SystemPromptMessage"],
        "message": "ToolInvokeMessage",
    }


def test_waits(client: httpx.Client) -> None:
    """Threads, sockets, programs, forks and event loops work in a worker, under the SDK's gevent, also in an import."""
    assert client.get("/waits").json() == {
        "imported": "while it is imported\n",
        "slept": True,
        "threads": [0, 1, 2, 3],
        "pool": [0, 2, 4, 6],
        "sockets": "later",
        "greenlets": [0, 1, 2],
        "asyncio": 2,
        "programs": True,
        "forks": 7,
        "http": ["refused", "refused"],
    }


def test_stream(client: httpx.Client) -> None:
    """A generator that waits for a thread; more than fits into the pipe."""
    with client.stream("GET", "/stream") as answer:
        text = "".join(answer.iter_text())

    assert text == "".join(f"piece {number}\n" for number in range(5)) + "x" * 300_000


def test_logs(client: httpx.Client, service: Executor) -> None:
    """The lines of the SDK's handler are records of the invocation, once each, like all others."""
    invocation_id = client.get("/logs").headers["x-invocation-id"]
    service.invocation(invocation_id)
    records = [event for event in service.events("endpoint.output") if event["invocation_id"] == invocation_id]

    assert sorted((record["level"], record["source"], record["message"]) for record in records) == [
        ("error", "sdk", "an error by the handler"),
        ("info", "sdk", "by the handler of the SDK"),
        ("info", "stdout", "printed"),
        ("warning", "of.another", "by logging"),
    ]


def test_requests(client: httpx.Client) -> None:
    """JSON, text, files, cookies, and the ValueError that is a 404."""
    answer = client.post("/echo", json={"é": [1, None]})
    assert answer.json() == {"é": [1, None]}
    assert [value.split(";")[0] for value in answer.headers.get_list("set-cookie")] == ["one=1", "two=2"]
    answer = client.post("/echo", data={"name": "v"}, files={"file": ("f.bin", b"x" * 100_000)})
    assert answer.json() == {"fields": {"name": "v"}, "files": {"file": 100_000}}
    answer = client.post("/echo", content=b"refuse", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.text) == (404, "nothing of the kind")


def test_names(client: httpx.Client, environment: Path, version: str) -> None:
    """The plugin gets its own modules of our names, and the environment's versions of what we have, too."""
    found = client.get("/names").json()

    assert found["modules"] == ["the plugin's own worker", "the plugin's own protocol", "the plugin's own executor"]
    assert found["msgpack"] == ["1.0.8", True]
    assert (found["sdk"], found["python"], found["prefix"]) == (version, PYTHON, str(environment))


def test_what_is_loaded(client: httpx.Client, service: Executor) -> None:
    """The rehearsal works with this SDK, and so do its hooks in each worker: zygotes have nothing to say."""
    assert client.get("/session").status_code == 200
    assert service.events("zygote.output") == []
    assert not [line for line in service.log_text().splitlines() if "rehearsal failed" in line]
