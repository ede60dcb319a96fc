"""Base zygotes, one for each interpreter: shared, started when they are needed, ended when they are not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import structlog

from executor.config.isolation import Isolation
from executor.environments.environment import Environment, find_environment
from executor.isolation.host import HostIsolation
from executor.supervisor import confinement, zygote_tree
from executor.supervisor.control import ParentLostError
from executor.supervisor.zygote import Zygote
from executor.supervisor.zygote_tree import ZygoteTree
from tests.environments import build_environment, find_pythons, plant

FORKS = """
import os, signal
try:
    while os.fork():
        pass
except BlockingIOError:
    os._exit(3)
signal.pause()
"""
"""Forks until it may not any more; then it ends, and with it all that it has started."""

Test = Callable[[ZygoteTree], Awaitable[None]]


def with_tree(test: Test) -> None:
    """Run a test with real zygotes, and look for what is left."""

    async def run() -> None:
        before = psutil.Process().num_fds()
        children = psutil.Process().children()
        host = HostIsolation(Isolation())
        tree = ZygoteTree(asyncio.get_running_loop(), host)
        try:
            await test(tree)
        finally:
            await tree.close()
            host.close()
        assert psutil.Process().num_fds() == before
        assert psutil.Process().children() == children

    asyncio.run(run())


@pytest.fixture
def environment() -> Environment:
    """One for our own version of Python."""
    return find_environment(build_environment("werkzeug>=3"))


def bases() -> list[int]:
    """The base zygotes that there are."""
    return [child.pid for child in psutil.Process().children() if child.name().startswith("ee-zygote")]


def groups_of(tree: ZygoteTree) -> list[Path]:
    """The control groups of zygotes."""
    return [path for folder in tree.host.group_folders for path in Path(folder).glob("zygote-*")]


def parent(zygote: Zygote) -> int:
    """The base zygote that a plugin's zygote came from."""
    assert zygote.pid is not None
    pid = psutil.Process(zygote.pid).ppid()
    assert pid in bases()
    return pid


def test_one_for_each_interpreter(environment: Environment) -> None:
    """Plugins without an environment share one; those with environments share one for each interpreter."""
    others = [find_environment(build_environment("werkzeug>=3", python=path)) for path in find_pythons().values()]

    async def test(tree: ZygoteTree) -> None:
        before = bases()  # of other tests
        own = await tree.fork_plugin_zygote("a", "")
        assert parent(await tree.fork_plugin_zygote("b", "")) == parent(own)
        seen: dict[Path, int] = {}
        for other in [environment, *others, *others]:
            zygote = await tree.fork_plugin_zygote("c", "", other)
            assert str(zygote.ready.result()["python"]).startswith(f"{other.version}.")
            assert seen.setdefault(other.interpreter, parent(zygote)) == parent(zygote)
        assert len({parent(own), *seen.values()}) == len(seen) + 1 == len(bases()) - len(before)

    with_tree(test)


def test_it_ends_when_nobody_needs_it(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after the last zygote of a plugin has ended; the next one starts another."""
    monkeypatch.setattr(zygote_tree, "BASE_IDLE_S", 0.0)

    async def test(tree: ZygoteTree) -> None:
        first = await tree.fork_plugin_zygote("a", "", environment)
        second = await tree.fork_plugin_zygote("b", "", environment)
        base = psutil.Process(parent(first))
        first.close()
        third = await tree.fork_plugin_zygote("c", "", environment)
        assert parent(third) == parent(second) == base.pid
        second.close()
        third.close()
        await asyncio.to_thread(base.wait, 60)
        again = await tree.fork_plugin_zygote("d", "", environment)
        assert parent(again) != base.pid

    with_tree(test)


def test_one_that_was_lost_is_started_again(environment: Environment) -> None:
    """Its plugins' zygotes are lost with it."""

    async def test(tree: ZygoteTree) -> None:
        zygote = await tree.fork_plugin_zygote("a", "", environment)
        psutil.Process(parent(zygote)).kill()
        await zygote.lost
        other = await tree.fork_plugin_zygote("a", "", environment)
        assert other.alive

    with_tree(test)


def test_what_is_wrong_with_an_environment_is_told(environment: Environment, tmp_path: Path) -> None:
    """Whoever wants a zygote gets the message; others are served."""
    empty = find_environment(build_environment())
    gone = replace(environment, python=tmp_path / "env/bin/python")

    async def test(tree: ZygoteTree) -> None:
        with pytest.raises(
            ParentLostError, match=re.escape(f"zygote a: the environment {empty.folder} has no werkzeug")
        ):
            await tree.fork_plugin_zygote("a", "", empty)
        with pytest.raises(ParentLostError, match=r"env has no interpreter"):
            await tree.fork_plugin_zygote("a", "", gone)
        assert (await tree.fork_plugin_zygote("a", "", environment)).alive

    with_tree(test)


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("hoard = []\nwhile True: hoard.append(bytearray(1 << 20))", ("MEMORY_BYTES", 128 * 1024**2)),
        (FORKS, ("PROCESSES", 20)),
    ],
    ids=["memory", "processes"],
)
def test_what_an_environment_imports_is_bounded(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, limit: tuple[str, int]
) -> None:
    """It runs before any worker is there, and cannot use up the host; others are served."""
    monkeypatch.setattr(confinement, *limit)
    hostile = find_environment(plant(environment.folder, tmp_path / "planted", code))

    async def test(tree: ZygoteTree) -> None:
        if tree.host.control_groups is None:
            pytest.skip("there are no control groups here")
        with pytest.raises(ParentLostError, match=r"it ended"):
            await tree.fork_plugin_zygote("hostile", "", hostile)
        assert (await tree.fork_plugin_zygote("a", "", environment)).alive

    with_tree(test)


def test_its_output_is_not_the_executors(
    environment: Environment, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is printed while an environment is imported becomes records, which it cannot forge."""
    code = "import os\nprint('{\"event\": \"service.ready\"}')\nos.write(2, b'no newline \\x1b[31m')"
    talking = find_environment(plant(environment.folder, tmp_path / "planted", code))

    async def test(tree: ZygoteTree) -> None:
        zygote = await tree.fork_plugin_zygote("talking", "", talking)
        zygote.close()

    with structlog.testing.capture_logs() as logs:
        with_tree(test)
    records = [entry["message"] for entry in logs if entry["event"] == "zygote.output"]
    assert records == ['{"event": "service.ready"}', "no newline \x1b[31m"]
    assert all(entry["plugin"] == "talking" for entry in logs if entry["event"] == "zygote.output")
    assert "service.ready" not in "".join(capfd.readouterr())


def test_a_flood_of_output_ends_it(environment: Environment, tmp_path: Path) -> None:
    """Only the beginning is logged."""
    code = "import os\nwhile True: os.write(2, b'x' * 4000 + b'\\n')"
    flooding = find_environment(plant(environment.folder, tmp_path / "planted", code))

    async def test(tree: ZygoteTree) -> None:
        with pytest.raises(ParentLostError, match=r"zygote flooding: it ended"):
            await tree.fork_plugin_zygote("flooding", "", flooding)

    with structlog.testing.capture_logs() as logs:
        with_tree(test)
    records = [entry["message"] for entry in logs if entry["event"] == "zygote.output"]
    assert 10 < len(records) < 40
    assert "dropped" in records[-1]
    assert [entry["zygote"] for entry in logs if entry["event"] == "zygote.flood"] == ["flooding"]


def test_its_control_group_goes_with_it(environment: Environment) -> None:
    """Each of these zygotes is in a group of its own, as long as it is there; those of our own environment are not."""

    async def test(tree: ZygoteTree) -> None:
        zygote = await tree.fork_plugin_zygote("a", "", environment)
        await tree.fork_plugin_zygote("b", "")
        groups = groups_of(tree)
        assert len(groups) == len(tree.host.group_folders)
        assert all(str(zygote.pid) in (group / "cgroup.procs").read_text().split() for group in groups)
        zygote.close()
        while any(group.exists() for group in groups):  # noqa: ASYNC110 - nothing tells when it is removed
            await asyncio.sleep(0.01)

    with_tree(test)


def test_a_program_that_is_no_python_is_told(environment: Environment, tmp_path: Path) -> None:
    """It ends, and no zygote comes from it."""
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to(tmp_path / "python3")
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)

    async def test(tree: ZygoteTree) -> None:
        with pytest.raises(ParentLostError, match=r"it ended"):
            await tree.fork_plugin_zygote("a", "", replace(environment, python=tmp_path / "env/bin/python"))

    with_tree(test)
