"""Functions that are called while others still wait for their environment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from executor.catalog.plugin import Plugin
from executor.config.model import Config
from executor.environments.builder import EnvironmentBuilder
from executor.figures.registry import Registry
from executor.isolation.host import HostIsolation
from executor.serverless.errors import FunctionError
from executor.serverless.functions import Function
from executor.serverless.host import FunctionHost
from executor.supervisor.supervisor import Supervisor
from tests.executor.serverless.test_functions import CAT

MANY = 64
"""Functions: more than an event loop has threads for all its users, which are 32 at most."""


def test_builds_hold_up_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many functions are called for the first time, and need an environment: what others do in threads goes on."""
    built = threading.Event()

    def load(function: Function, _progress: Callable[[str], None]) -> Plugin:
        built.wait()
        raise FunctionError(f"{function.plugin} is not served")

    async def test() -> None:
        config = Config.model_validate({"state_dir": tmp_path, "serverless": {"key": "k" * 16}})
        builder = EnvironmentBuilder(tmp_path, config.environments, cast("HostIsolation", None))
        assert config.serverless is not None
        host = FunctionHost(config, cast("Supervisor", None), builder, settings=config.serverless, registry=Registry())
        monkeypatch.setattr(host._preparing, "load", load)  # in place of builds that take minutes
        functions = [replace(CAT, plugin=f"cat-{number}", token=f"{number:032}") for number in range(MANY)]
        for function in functions:
            host._shelf.put(function)
        await host.open()
        calls = [asyncio.create_task(host.obtain(function)) for function in functions]
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            async with asyncio.timeout(30):
                await asyncio.to_thread(int)
        finally:
            built.set()
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(error) for error in failures] == [f"cat-{number} is not served" for number in range(MANY)]
        await host.close()

    asyncio.run(test())
