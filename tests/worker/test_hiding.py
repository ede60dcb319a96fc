"""Our own modules cannot be imported by a plugin, and a plugin's modules of the same names can."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import worker
from worker.hiding import HIDDEN_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.worker.driver import Plugin

PACKAGES = Path(worker.__file__).parent.parent


def test_own_names_are_free(plugin: Plugin) -> None:
    """A plugin without modules of our names finds none, neither loaded nor to be imported."""
    plugin.endpoint(
        """
        import importlib.util
        found = {}
        for name in ("worker", "protocol", "executor", "worker.channel", "protocol.frames", "executor.version"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                found[name] = str(error)
        return Response(json.dumps([
            found,
            [importlib.util.find_spec(name) is None for name in ("worker", "protocol", "executor")],
            [name for name in sys.modules if name.partition(".")[0] in ("worker", "protocol", "executor")],
            vars(sys.modules["__main__"]).get("__file__"),
        ]))
        """
    )
    found, missing, loaded, main = json.loads(plugin.call().body)

    assert {name: f"No module named '{name.partition('.')[0]}'" for name in found} == found
    assert len(found) == 6
    assert missing == [True] * 3
    assert loaded == []
    assert main is None


def test_plugin_may_use_our_names(plugin: Plugin) -> None:
    """`worker.py`, `protocol.py`, `executor.py` and `json_utils/` of a plugin are its own."""
    plugin.write("worker.py", "name = 'my worker'\n")
    plugin.write("executor.py", "from worker import name\nclass Executor: pass\n")
    plugin.write("protocol.py", "import executor\nname = executor.name + ', my protocol'\n")
    plugin.write("json_utils/__init__.py", "from json_utils.deep import name\n")
    plugin.write("json_utils/deep.py", "name = 'my json'\n")
    plugin.endpoint(
        "return Response(f'{protocol.name} {json_utils.name} {worker.__file__} {inspect.getsource(worker)}')",
        top="import executor, inspect, json_utils, protocol, worker",
    )
    answer = plugin.call()

    assert answer.body.decode().startswith(f"my worker, my protocol my json {plugin.root}/worker.py name =")


@pytest.mark.parametrize("shared", [True, False])
def test_any_installation_is_hidden(tmp_path: Path, shared: bool) -> None:  # noqa: FBT001
    """Beside other packages ours alone are hidden; a source tree leaves the import path as a whole."""
    for name in HIDDEN_NAMES:
        shutil.copytree(PACKAGES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "neighbour.py").write_text("")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import worker.hiding
if {shared}:
    worker.hiding._shared_folders = lambda: {{{str(tmp_path)!r}}}
sys.path.append({str(PACKAGES)!r} + "/.")   # another way to our own tree does not matter here
sys.path.remove({str(PACKAGES)!r} + "/.")
sys.path[:] = [p for p in sys.path if p != {str(PACKAGES)!r}]
worker.hiding.hide_ourselves()
import importlib.util
print([importlib.util.find_spec(name) is None for name in ("worker", "protocol", "executor", "neighbour")])
"""
    printed = subprocess.check_output([sys.executable, "-I", "-c", program], text=True)

    assert f"{[True, True, True, not shared]}\n" == printed


def test_nothing_of_ours_is_imported_late() -> None:
    """No function of ours imports one of our modules: it would not find it once they are hidden."""
    late = [
        f"{path.relative_to(PACKAGES)}:{node.lineno}"
        for package in ("worker", "protocol")
        for path in sorted((PACKAGES / package).rglob("*.py"))
        if "sdk" not in path.parts
        for node in late_imports(ast.parse(path.read_text()))
    ]
    assert late == []


def late_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports of our packages within functions."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] in HIDDEN_NAMES for name in names):
                assert isinstance(node, ast.Import | ast.ImportFrom)
                yield node
