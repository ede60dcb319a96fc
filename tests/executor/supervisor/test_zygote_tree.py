"""Base zygotes, one for each interpreter: shared, started when they are needed, ended when they are not."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import structlog

from executor.config.isolation import Isolation
from executor.environments.environment import Environment, find_environment
from executor.isolation.host import HostIsolation
from executor.supervisor import base_zygote, confinement, environment_zygote
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

PYTHON = Path(sys.executable).resolve()

Test = Callable[[ZygoteTree], Awaitable[None]]


async def nothing() -> None:
    """What is done after most tests."""


def with_tree(test: Test, afterwards: Callable[[], Awaitable[None]] = nothing) -> None:
    """Run a test with real zygotes, and look for what is left once the tree is closed."""

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
        await afterwards()
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
    """What a plugin's zygote was forked from: the zygote of its environment, or a base zygote."""
    assert zygote.pid is not None
    return psutil.Process(zygote.pid).ppid()


def base_of(zygote: Zygote) -> int:
    """The base zygote that a plugin's zygote came from."""
    pid, known = parent(zygote), bases()
    while pid not in known:  # an environment's zygote, and before it perhaps the midwife, which is about to end
        pid = psutil.Process(pid).ppid()
        assert pid
    return pid


def test_one_for_each_interpreter(environment: Environment) -> None:
    """Plugins without an environment share one; those with environments share one for each interpreter."""
    others = [find_environment(build_environment("werkzeug>=3", python=path)) for path in find_pythons().values()]

    async def test(tree: ZygoteTree) -> None:
        before = bases()  # of other tests
        own = await tree.fork_plugin_zygote("a", "")
        assert base_of(await tree.fork_plugin_zygote("b", "")) == base_of(own)
        seen: dict[Path, int] = {}
        for other in [environment, *others, *others]:
            zygote = await tree.fork_plugin_zygote("c", "", other)
            assert str(zygote.ready.result()["python"]).startswith(f"{other.version}.")
            assert seen.setdefault(other.interpreter, base_of(zygote)) == base_of(zygote)
        assert len({base_of(own), *seen.values()}) == len(seen) + 1 == len(bases()) - len(before)

    with_tree(test)


def imports(logs: Sequence[Mapping[str, object]]) -> int:
    """How often an environment that prints something was imported."""
    return len([entry for entry in logs if entry["event"] == "zygote.output"])


def test_an_environment_is_imported_once(environment: Environment, tmp_path: Path) -> None:
    """For all plugins that have it, however many begin at once; not again for one that comes later."""
    talking = find_environment(plant(environment.folder, tmp_path / "planted", "print('imported')"))

    async def test(tree: ZygoteTree) -> None:
        names = ("a", "b", "c", "d")
        zygotes = await asyncio.gather(*(tree.fork_plugin_zygote(name, "", talking) for name in names))
        zygotes.append(await tree.fork_plugin_zygote("e", "", talking))
        assert len({parent(zygote) for zygote in zygotes}) == 1
        assert [zygote.ready.result()["name"] for zygote in zygotes] == [*names, "e"]

    with structlog.testing.capture_logs() as logs:
        with_tree(test)
    assert imports(logs) == 1


def test_the_first_one_is_provisional(environment: Environment) -> None:
    """It is there before its environment's zygote has prepared for forks, which it does once."""

    async def test(tree: ZygoteTree) -> None:
        zygotes = [await tree.fork_plugin_zygote(name, "", environment) for name in "abc"]
        assert [zygote.provisional for zygote in zygotes] == [True, False, False]
        psutil.Process(parent(zygotes[0])).kill()
        await zygotes[-1].lost
        assert (await tree.fork_plugin_zygote("a", "", environment)).provisional
        assert not (await tree.fork_plugin_zygote("a", "")).provisional

    with_tree(test)


def test_what_has_changed_is_imported_again(environment: Environment) -> None:
    """The zygotes of the state before stay as long as they are used."""

    async def test(tree: ZygoteTree) -> None:
        before = await tree.fork_plugin_zygote("a", "", environment)
        after = await tree.fork_plugin_zygote("a", "", replace(environment, digest="another"))
        assert parent(before) != parent(after)
        assert base_of(before) == base_of(after)

    with_tree(test)


def test_whoever_stops_waiting_stops_nobody(environment: Environment, tmp_path: Path) -> None:
    """An import that began for one plugin goes on for another, and is kept for the next where nobody waits."""
    talking = find_environment(plant(environment.folder, tmp_path / "planted", "print('imported')"))

    async def test(tree: ZygoteTree) -> None:
        for others in (1, 0):
            waiting = [asyncio.create_task(tree.fork_plugin_zygote("a", "", talking)) for _ in range(1 + others)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            done = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError)
            assert all(isinstance(zygote, Zygote) for zygote in done[1:])
        await tree.fork_plugin_zygote("b", "", talking)

    with structlog.testing.capture_logs() as logs:
        with_tree(test)
    assert imports(logs) == 1


def test_an_import_that_fails_is_tried_again(environment: Environment, tmp_path: Path) -> None:
    """One failure for all who waited; the next one begins anew, and may succeed."""
    planted = plant(environment.folder, tmp_path / "planted", "import os\nos._exit(1)")
    broken = find_environment(planted)

    async def test(tree: ZygoteTree) -> None:
        waiting = [tree.fork_plugin_zygote(name, "", broken) for name in ("a", "b")]
        told = [str(error) for error in await asyncio.gather(*waiting, return_exceptions=True)]
        assert told == [f"zygote {planted}: it ended"] * 2
        next(planted.glob("lib/python3*/site-packages/planted.pth")).unlink()
        assert (await tree.fork_plugin_zygote("a", "", broken)).alive

    with_tree(test)


def test_the_end_of_an_environments_zygote(environment: Environment) -> None:
    """The zygotes of its plugins are lost with it, others are not; the next one starts it again."""

    async def test(tree: ZygoteTree) -> None:
        zygotes = [await tree.fork_plugin_zygote(name, "", environment) for name in ("a", "b")]
        other = await tree.fork_plugin_zygote("c", "", replace(environment, digest="another"))
        psutil.Process(parent(zygotes[0])).kill()
        for zygote in zygotes:
            await zygote.lost
        assert other.alive
        again = await tree.fork_plugin_zygote("a", "", environment)
        assert base_of(again) == base_of(other)

    with_tree(test)


def test_the_end_of_a_sibling(environment: Environment) -> None:
    """It disturbs nobody."""

    async def test(tree: ZygoteTree) -> None:
        first, second = [await tree.fork_plugin_zygote(name, "", environment) for name in ("a", "b")]
        assert first.pid is not None
        psutil.Process(first.pid).kill()
        await first.lost
        third = await tree.fork_plugin_zygote("c", "", environment)
        assert second.alive
        assert parent(second) == parent(third)

    with_tree(test)


def sees(pid: int | None, folder: Path) -> bool:
    """Whether a process has a folder mounted."""
    return f"{folder} " in Path(f"/proc/{pid}/mountinfo").read_text()


def test_the_folder_is_lent(environment: Environment, tmp_path: Path) -> None:
    """To the zygote of that plugin; what cannot be lent is told, by the plugin's name, and others are served."""
    tmp_path.chmod(0o755)

    async def test(tree: ZygoteTree) -> None:
        zygote = await tree.fork_plugin_zygote("a", str(tmp_path), environment)
        assert [sees(pid, tmp_path) for pid in (zygote.pid, parent(zygote))] == [True, False]
        with pytest.raises(ParentLostError, match=rf"zygote b: the plugin folder {tmp_path}/none cannot be shown: No "):
            await tree.fork_plugin_zygote("b", f"{tmp_path}/none", environment)
        assert (await tree.fork_plugin_zygote("b", str(tmp_path), environment)).alive

    with_tree(test)


def test_a_tree_that_is_closed_while_an_environment_is_imported(environment: Environment, tmp_path: Path) -> None:
    """Whoever waits is told, and nothing is left."""
    slow = find_environment(plant(environment.folder, tmp_path / "planted", "import time\ntime.sleep(600)"))
    waiting: list[asyncio.Task[Zygote]] = []

    async def test(tree: ZygoteTree) -> None:
        waiting.append(asyncio.create_task(tree.fork_plugin_zygote("a", "", slow)))
        while not any(name.startswith("ee-zygote /") for name in names_below()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)

    async def told() -> None:
        with pytest.raises(ParentLostError, match="is not used any more"):
            await waiting[0]

    with_tree(test, told)


def names_below() -> list[str]:
    """Names of all processes that were started from here."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(process.name())
    return found


def test_it_ends_when_nobody_needs_it(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after the last zygote of a plugin has ended; the next one starts another."""
    monkeypatch.setattr(base_zygote, "BASE_IDLE_S", 0.0)
    monkeypatch.setattr(environment_zygote, "ENVIRONMENT_IDLE_S", 0.0)

    async def test(tree: ZygoteTree) -> None:
        first = await tree.fork_plugin_zygote("a", "", environment)
        second = await tree.fork_plugin_zygote("b", "", environment)
        base = psutil.Process(base_of(first))
        first.close()
        third = await tree.fork_plugin_zygote("c", "", environment)
        assert base_of(third) == base_of(second) == base.pid
        second.close()
        third.close()
        await asyncio.to_thread(base.wait, 60)
        again = await tree.fork_plugin_zygote("d", "", environment)
        assert base_of(again) != base.pid

    with_tree(test)


def test_one_that_was_lost_is_started_again(environment: Environment) -> None:
    """Its plugins' zygotes are lost with it."""

    async def test(tree: ZygoteTree) -> None:
        zygote = await tree.fork_plugin_zygote("a", "", environment)
        psutil.Process(base_of(zygote)).kill()
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
            ParentLostError, match=re.escape(f"zygote {empty.folder}: the environment {empty.folder} has no werkzeug")
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
    owners = {entry["environment"] for entry in logs if entry["event"] == "zygote.output"}
    assert owners == {str(talking.folder)}
    assert "service.ready" not in "".join(capfd.readouterr())


def test_a_flood_of_output_ends_it(environment: Environment, tmp_path: Path) -> None:
    """Only the beginning is logged."""
    code = "import os\nwhile True: os.write(2, b'x' * 4000 + b'\\n')"
    flooding = find_environment(plant(environment.folder, tmp_path / "planted", code))

    async def test(tree: ZygoteTree) -> None:
        with pytest.raises(ParentLostError, match=re.escape(f"zygote {flooding.folder}: it ended")):
            await tree.fork_plugin_zygote("flooding", "", flooding)

    with structlog.testing.capture_logs() as logs:
        with_tree(test)
    records = [entry["message"] for entry in logs if entry["event"] == "zygote.output"]
    assert 10 < len(records) < 40
    assert "dropped" in records[-1]
    assert [entry["zygote"] for entry in logs if entry["event"] == "zygote.flood"] == [str(flooding.folder)]


def test_its_control_group_goes_with_it(environment: Environment) -> None:
    """Those of environments and their plugins are in a group each, as long as they are there; others are in none."""

    async def test(tree: ZygoteTree) -> None:
        zygote = await tree.fork_plugin_zygote("a", "", environment)
        await tree.fork_plugin_zygote("b", "")
        groups = groups_of(tree)
        assert len(groups) == 2 * len(tree.host.group_folders)
        members = [(group / "cgroup.procs").read_text().split() for group in groups]
        assert sorted(members) == sorted([[str(pid)] for pid in (zygote.pid, parent(zygote))] * (len(groups) // 2))
        zygote.close()
        while len([group for group in groups if group.exists()]) > len(groups) // 2:  # noqa: ASYNC110 - nothing tells
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


def test_a_program_that_hangs_is_replaced(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited is told, and the next one starts it anew: it is not asked for a zygote again and again."""
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to(tmp_path / "python3")
    (tmp_path / "python3").write_text(f'#!/bin/sh\n[ -e {tmp_path}/well ] && exec {PYTHON} "$@"\nexec sleep 1000\n')
    (tmp_path / "python3").chmod(0o755)

    async def test(tree: ZygoteTree) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(base_zygote, "ZYGOTE_READY_TIME_S", 0.5)
            with pytest.raises(ParentLostError, match=r"not ready within"):
                await tree.fork_plugin_zygote("a", "", replace(environment, python=tmp_path / "env/bin/python"))
        (tmp_path / "well").touch()
        with pytest.raises(ParentLostError, match=r"has no packages"):  # for which it must have been started
            await tree.fork_plugin_zygote("a", "", replace(environment, python=tmp_path / "env/bin/python"))

    with_tree(test)
