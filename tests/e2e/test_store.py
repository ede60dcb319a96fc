"""The service and its store: opened at the start, closed at the end, and what is said when it cannot be used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from executor.store.database import FILE
from executor.store.schema import HEAD
from executor.store.store import open_store
from tests.e2e.harness import COMMAND, LAB, Executor
from tests.executor.store.support import make_plugin
from tests.postgresql import postgresql_server

pytestmark = pytest.mark.e2e


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


def test_the_store_may_be_on_a_server() -> None:
    """Its address comes from the environment."""
    with postgresql_server() as server:
        url = server.make_database()
        config = {"plugins": [str(LAB)], "store": {"url": {"from_env": "DATABASE"}}}
        with Executor(config=config, environment={"DATABASE": url}) as executor:
            name = url.partition("@/")[2].partition("?")[0]
            assert server.execute("SELECT version_num FROM executor_revision", name) == [(HEAD,)]
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
