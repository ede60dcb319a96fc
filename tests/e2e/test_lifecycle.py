"""Starting, reloading, draining and ending the service."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.e2e.duplex import begun
from tests.e2e.harness import COMMAND, LAB, Executor, until, wait_ended
from tests.environments import ordinary_user, python_for

pytestmark = pytest.mark.e2e

NEEDY_GROUP = """
settings:
  api_key: {type: secret-input, required: true, label: {en_US: Key}}
  mode: {type: select, required: true, label: {en_US: Mode}, options: [{value: fast, label: {en_US: Fast}}]}
endpoints:
  - {path: /, method: GET, extra: {python: {source: endpoints/info.py}}}
"""


def copy_lab(folder: Path, *, name: str = "lab") -> Path:
    """A copy of the lab that a test may change."""
    plugin = folder / name
    shutil.copytree(LAB, plugin, ignore=shutil.ignore_patterns("__pycache__"))
    manifest = plugin / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("name: lab", f"name: {name}", 1))
    return plugin


def serve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `executor serve` when it is expected to fail."""
    return subprocess.run(
        [*COMMAND, "serve", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )


def test_the_table_of_urls(lab: Executor) -> None:
    """Every endpoint with its method and its whole address, once the service is ready."""
    assert f"{lab.url}/e/lab/info/<int:number>/<name>/<uuid:key>/<float:ratio>" in lab.stdout
    line = next(line for line in lab.stdout.splitlines() if line.endswith("/e/lab/duplex"))
    assert "POST" in line
    assert lab.admin in lab.stdout


def test_ready_file_and_admin(lab: Executor) -> None:
    """The ready file has the addresses and the process; the admin listener answers."""
    ready = json.loads((lab.folder / "ready.json").read_text())
    assert ready == {"public": lab.url, "admin": lab.admin, "pid": lab.process.pid}
    assert plain_http.get(f"{lab.admin}/healthz").status_code == 200
    assert plain_http.get(f"{lab.admin}/readyz").status_code == 200
    lab.get("/status/200")
    assert any(
        'executor_invocations_total{hook="lab",outcome="ok"}' in plain_http.get(f"{lab.admin}/metrics").text
        for _ in until(60)
    )


def test_missing_settings_stop_the_start(tmp_path: Path) -> None:
    """All problems at once, each with the way to give the value."""
    plugin = copy_lab(tmp_path, name="needy")
    (plugin / "group.yaml").write_text(NEEDY_GROUP)
    ended = serve(plugin, "--port", "0", "--state-dir", tmp_path / "state", "--set", "needy.mode=slow")
    assert ended.returncode == 1
    assert "--set needy.api_key=VALUE" in ended.stderr
    assert "needy.mode" in ended.stderr
    assert "Traceback" not in ended.stderr
    arguments = (plugin, "--set", "needy.mode=fast", "--set", "needy.api_key=k")
    with Executor(*arguments) as executor:
        answer = plain_http.get(f"{executor.url}/e/needy/")
        assert answer.json()["settings"] == {"mode": "fast", "api_key": "k"}
        assert "api_key=k" not in executor.log_text()


def test_broken_plugins_stop_the_start(tmp_path: Path) -> None:
    """What the YAML says wrong, and what only an import can show."""
    plugin = copy_lab(tmp_path)
    group = plugin / "group.yaml"
    group.write_text(group.read_text().replace('method: "GET"', 'method: "FETCH"', 1))
    ended = serve(plugin, "--port", "0", "--state-dir", tmp_path / "state")
    assert ended.returncode == 1
    assert "group.yaml:" in ended.stderr
    assert "FETCH" in ended.stderr
    shutil.rmtree(plugin)
    plugin = copy_lab(tmp_path)
    (plugin / "endpoints" / "count.py").write_text(
        "import module_that_is_missing\n" + (LAB / "endpoints" / "count.py").read_text()
    )
    ended = serve(plugin, "--port", "0", "--state-dir", tmp_path / "state")
    assert ended.returncode == 1
    assert "endpoints/count.py" in ended.stderr
    assert "module_that_is_missing" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_instance_on_the_same_port(lab: Executor, tmp_path: Path) -> None:
    """One clear sentence, not a traceback."""
    port = lab.url.rpartition(":")[2]
    ended = serve(LAB, "--port", port, "--state-dir", tmp_path)
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_drain_lets_running_work_finish() -> None:
    """After SIGTERM: no new connections, running work ends well, exit status 0, no process left."""
    with Executor(LAB) as executor, begun(executor) as running:
        processes = executor.processes()
        executor.process.send_signal(signal.SIGTERM)
        executor.wait_event("service.draining")
        wait_refusing(executor)
        running.finish()
        assert executor.process.wait(120) == 0
        wait_ended(processes)
        assert executor.events("service.stopped")[0]["ended_invocations"] == 0


def wait_refusing(executor: Executor) -> None:
    """Wait until no connections are taken any more."""
    for _ in until(60):
        try:
            executor.raw().sock.close()
        except ConnectionRefusedError:
            return
    raise AssertionError("connections are taken")


def test_drain_ends_what_does_not_finish() -> None:
    """After the grace time a running invocation is ended and reported."""
    config = {"plugins": [str(LAB)], "drain": {"grace_time": "500ms"}}
    with Executor(config=config) as executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(executor.get, "/wait/30")
        executor.wait_workers(1, state="running")
        assert executor.stop() == 0
        answer = running.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "shutdown")
        assert executor.invocation(answer.headers["x-invocation-id"])["outcome"] == "shutdown"


def test_a_second_signal_ends_at_once() -> None:
    """Who is in a hurry says it twice."""
    with Executor(LAB) as executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(executor.get, "/wait/30")
        executor.wait_workers(1, state="running")
        executor.process.send_signal(signal.SIGTERM)
        executor.wait_event("service.draining")
        executor.process.send_signal(signal.SIGTERM)
        assert executor.process.wait(120) == 0
        assert running.result().status_code == 503


def test_kill_leaves_nothing(tmp_path: Path) -> None:
    """SIGKILL of the supervisor: zygotes, slots and workers follow, and it can be started again."""
    executor = Executor(LAB)
    with executor, ThreadPoolExecutor(1) as pool:
        running = pool.submit(executor.get, "/wait/30")
        executor.wait_workers(1, state="running")
        processes = executor.processes()
        executor.process.kill()
        executor.process.wait()
        with pytest.raises(httpx.HTTPError):
            running.result()
        wait_ended(processes)
        executor.start()
        assert executor.get("/status/200").status_code == 200
        assert executor.stop() == 0


def test_reload_without_dropping_a_request(tmp_path: Path) -> None:
    """SIGHUP under load: every request is answered; afterwards the new configuration holds."""
    plugin = copy_lab(tmp_path)
    hooks: dict[str, object] = {"lab": {}, "old": {"plugin": "lab"}}
    config: dict[str, object] = {"plugins": [str(plugin)], "hooks": hooks}
    with Executor(config=config) as executor:
        stop = threading.Event()

        def ask() -> list[int]:
            statuses = []
            with executor.client() as client:
                while not stop.is_set():
                    statuses.append(client.get("/stream/10/1000").status_code)
            return statuses

        with ThreadPoolExecutor(2) as pool, begun(executor, "old") as running:
            asking = [pool.submit(ask) for _ in range(2)]
            try:
                for number in range(3):
                    group = plugin / "group.yaml"
                    group.write_text(group.read_text() + f"# change {number}\n")
                    executor.write_config({**config, "hooks": {"lab": {}, f"new{number}": {"plugin": "lab"}}})
                    executor.process.send_signal(signal.SIGHUP)
                    url = f"{executor.url}/e/new{number}/status/200"
                    assert any(executor.get(url).status_code == 200 for _ in until(120))
            finally:
                stop.set()
            running.finish()
            statuses = [status for future in asking for status in future.result()]
        assert len(statuses) > 10
        assert set(statuses) == {200}
        assert executor.get(f"{executor.url}/e/old/status/200").status_code == 404
        executor.wait_workers(0)
        assert len(executor.resting_processes()) == executor.resting_count, "old zygotes have gone"


def test_a_bad_reload_changes_nothing(tmp_path: Path) -> None:
    """What was served goes on being served, and the log says why."""
    with Executor(config={"plugins": [str(LAB)]}) as executor:
        executor.config_file.write_text("plugins: [/nowhere]\nlimits: {wall_time: never}\n")
        executor.process.send_signal(signal.SIGHUP)
        problem = executor.wait_event("service.reload_refused")
        assert "wall_time" in problem["problem"] or "nowhere" in problem["problem"]
        assert executor.get("/status/200").status_code == 200


def test_a_bad_reload_leaves_nothing_of_what_was_tried(tmp_path: Path) -> None:
    """A changed plugin had been tried already, with processes of its own, when the configuration was refused."""
    lab = copy_lab(tmp_path)
    config = {"plugins": [str(lab)]}
    with Executor(config=config) as executor:
        serving = executor.resting_processes()
        descriptors = executor.resting_descriptors()
        (lab / "worker.py").write_text("changed = True\n")
        executor.write_config(config | {"reverse": {"target": "fixtures", "fixtures": str(tmp_path / "missing.yaml")}})
        executor.process.send_signal(signal.SIGHUP)
        executor.wait_refused("missing.yaml")
        assert executor.resting_processes() == serving
        executor.wait_descriptors(descriptors)
        assert executor.get("/status/200").status_code == 200


def test_nothing_is_left_of_files(lab: Executor) -> None:
    """Whatever an endpoint writes is gone with its worker, even folders it has locked itself out of."""
    answer = lab.get("/files")
    lab.invocation(answer.headers["x-invocation-id"])
    lab.wait_workers(0)
    assert answer.text.startswith("/tmp/")
    assert not Path(answer.text).exists()


def test_serving_as_an_ordinary_user() -> None:
    """Nothing here needs root: as `nobody` the service starts, answers and ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        python, user = python_for(folder), ordinary_user()
        with Executor(LAB, python=python, user=user) as executor:
            (process, *_) = executor.processes()
            assert process.uids().effective != 0
            assert executor.get("/status/200").status_code == 200
            assert executor.get("/files").status_code == 200
            assert executor.stop() == 0
