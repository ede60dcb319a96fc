"""Byte code of a real plugin, compiled by a real worker: workers import it and cannot change it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.e2e.harness import Executor

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
