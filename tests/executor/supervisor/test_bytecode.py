"""Byte code of a real plugin, compiled by a real worker: workers import it and cannot change it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final, cast

import pytest

from executor.figures.figures import StartTimes
from executor.supervisor.bytecode import collect_bytecode
from executor.supervisor.ready_worker import ReadyWorker
from executor.supervisor.slots import Slot, SlotPool
from protocol.control import Exited
from protocol.messages import Chunk, End, Ready, Response
from tests.e2e.harness import Executor
from tests.executor.supervisor.played_worker import PlayedWorker, play

pytestmark = pytest.mark.e2e

MANIFEST: Final = """
version: 0.0.1
type: plugin
author: tests
name: coded
label: {en_US: Coded}
description: {en_US: Coded}
created_at: "2026-01-01T00:00:00Z"
icon: icon.svg
resource: {memory: 1048576, permission: {}}
plugins: {endpoints: [group.yaml]}
meta: {version: 0.0.1, arch: [amd64], runner: {language: python, version: "3.12", entrypoint: main}}
"""

GROUP: Final = "endpoints:\n  - {path: /, method: GET, extra: {python: {source: ends/main.py}}}\n"

ENDPOINT: Final = """
import json, os, sys
compiled = []
sys.addaudithook(lambda event, given: compiled.append(str(given[1])) if event == "compile" else None)
import helper
from dify_plugin import Endpoint
from werkzeug import Response

class Main(Endpoint):
    def _invoke(self, r, values, settings):
        files = [os.path.join(folder, name) for folder, _, names in os.walk("/bytecode") for name in names]
        refused = 0
        for attempt in (lambda: open(files[0], "ab"), lambda: os.remove(files[0]), lambda: open("/bytecode/x", "w")):
            try:
                attempt()
            except OSError:
                refused += 1
        return Response(json.dumps([len(files), compiled, refused, helper.ANSWER]))
"""


def test_workers_import_it(tmp_path: Path) -> None:
    """Once the plugin is compiled, no worker compiles its modules, nor can it change what the next one imports."""
    (tmp_path / "ends").mkdir()
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    (tmp_path / "group.yaml").write_text(GROUP)
    (tmp_path / "ends" / "main.py").write_text(ENDPOINT)
    (tmp_path / "helper.py").write_text("ANSWER = 42\n")
    with Executor(tmp_path, config=None) as executor:
        with executor.client() as client:
            client.base_url = f"{executor.url}/e/coded"
            answers = (client.get("/").json() for _ in range(200))
            # Spare workers from before see the byte code, too, but have compiled their modules.
            refused, answer = next(answer[2:] for answer in answers if answer[:2] == [2, []])
            assert (refused, answer) == (3, 42)
        assert executor.own_failures() == []


class Pool:
    """Where the slot of a played worker comes from."""

    def __init__(self) -> None:
        self.released = False

    def release(self, _slot: Slot) -> None:
        """Take the slot back."""
        self.released = True


def test_a_plugin_that_is_given_up_while_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker has answered, and is about to end: its slot is not given away before that, and no file stays open."""

    async def test(worker: PlayedWorker) -> None:
        ending, pool, wait_exit = asyncio.Event(), Pool(), worker.handle.wait_exit

        async def wait(_grace_s: float) -> Exited | None:
            ending.set()
            return await wait_exit(60)

        monkeypatch.setattr(worker.handle, "wait_exit", wait)
        worker.begin()
        assert isinstance(await worker.channel.receive(), Ready)
        start = StartTimes(slot_s=None, fork_s=0.0, load_s=0.0)
        ready = ReadyWorker(worker.handle, cast("Slot", worker), cast("SlotPool", pool), start)
        compiling = asyncio.create_task(collect_bytecode(ready))
        await asyncio.sleep(0)
        worker.hear()
        worker.say(Response(status=200, headers=()), Chunk(b"code"), End())
        await ending.wait()
        compiling.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not pool.released
        worker.end()
        with contextlib.suppress(asyncio.CancelledError):
            os.close(await compiling)
        assert pool.released

    play(test)
