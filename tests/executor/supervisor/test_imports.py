"""What a plugin's zygote imports for workers can make them faster, and nothing worse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import structlog

from executor.config.isolation import Isolation
from executor.environments.environment import Environment, find_environment
from executor.isolation.host import HostIsolation
from executor.supervisor.control import ParentLostError
from executor.supervisor.imports import ImportList
from executor.supervisor.zygote import Zygote
from executor.supervisor.zygote_tree import ZygoteTree
from tests.environments import build_environment, plant

Fork = Callable[[tuple[str, ...]], Awaitable[Zygote]]
Test = Callable[[ImportList, Fork], Awaitable[None]]

MODULES = {
    "threaded": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
    "opens": "file = open('/dev/null')",
    "crashes": "import os\nos.kill(os.getpid(), 9)\nos._exit(1)",
    "good": "",
}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One with modules that are good for a fork, and bad."""
    folder = plant(build_environment("werkzeug>=3"), tmp_path / "planted", "pass")
    packages = next(folder.glob("lib/python*/site-packages"))
    for name, text in MODULES.items():
        (packages / f"{name}.py").write_text(text)
    return find_environment(folder)


def with_list(
    names: tuple[str, ...], environment: Environment, test: Callable[[ImportList, Fork], Awaitable[None]]
) -> None:
    """Run a test with real zygotes, of which none is left afterwards."""

    async def run() -> None:
        host = HostIsolation(Isolation())
        tree = ZygoteTree(asyncio.get_running_loop(), host)
        children = psutil.Process().children()
        try:
            await test(ImportList("a", names), partial(tree.fork_plugin_zygote, "a", "", environment))
        finally:
            await tree.close()
            host.close()
        assert psutil.Process().children() == children

    asyncio.run(run())


def test_what_is_unfit_is_left_out_from_then_on(environment: Environment) -> None:
    """One after another, each told once; the zygotes that found it out end."""

    async def test(imports: ImportList, fork: Fork) -> None:
        with structlog.testing.capture_logs() as logs:
            zygote = await imports.fork(fork)
            again = await imports.fork(fork)
        told = [(entry["imports"], entry["reason"]) for entry in logs if entry["event"] == "zygote.import_left_out"]
        assert told == [(["threaded"], "it has started a thread"), (["opens"], "it has opened a file or a socket")]
        assert zygote.ready.result()["imports"] == again.ready.result()["imports"] == ["json", "good"]

    with_list(("json", "threaded", "opens", "good"), environment, test)


def test_without_any_where_the_zygote_dies(environment: Environment) -> None:
    """Nobody knows which it was."""

    async def test(imports: ImportList, fork: Fork) -> None:
        zygote = await imports.fork(fork)
        assert zygote.ready.result()["imports"] == []

    with_list(("json", "crashes", "good"), environment, test)


def test_without_imports_a_failure_is_one() -> None:
    """It is told to whoever has asked, and the next time all is tried again."""

    async def test() -> None:
        asked: list[tuple[str, ...]] = []

        async def fork(names: tuple[str, ...]) -> Zygote:
            asked.append(names)
            await asyncio.sleep(0)
            raise ParentLostError("played")

        imports = ImportList("a", ("json",))
        for _ in range(2):
            with contextlib.suppress(ParentLostError):
                await imports.fork(fork)
        assert asked == [("json",), (), ("json",), ()]

    asyncio.run(test())
