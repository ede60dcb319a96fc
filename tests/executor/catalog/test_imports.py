"""What a plugin's sources import from elsewhere is found without running them; what is doubtful is left to workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.catalog.files import PluginFiles
from executor.catalog.imports import MAX_BYTES, MAX_SOURCES, find_imports
from protocol.limits import MAX_IMPORT, MAX_IMPORTS
from tests.executor.catalog.plugins import GOOD, load, write_plugin


def found(root: Path, source: str, others: Mapping[str, str] | None = None) -> list[str]:
    """What a plugin's endpoint imports, with other files of the plugin by their paths."""
    write_plugin(root, {**(others or {}), "endpoints/cat.py": source})
    return list(find_imports(PluginFiles(root), ["endpoints/cat.py"]))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import json", ["json"]),
        ("import os.path, httpx as h", ["os.path", "httpx"]),
        ("from google.cloud import storage, tasks as t", ["google.cloud:storage", "google.cloud:tasks"]),
        ("from yaml import *", ["yaml"]),
        ("try:\n import ujson as json\nexcept ImportError:\n import json", ["ujson", "json"]),
        ("def f():\n class C:\n  import boto3", ["boto3"]),
        ("import b\nimport a\nimport b", ["b", "a"]),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import a\nelse:\n import b",
            ["typing:TYPE_CHECKING", "b"],
        ),
        ("if __name__ == '__main__':\n import a", []),
        ("import this, antigravity, worker.slot, executor, protocol", []),
        ("from . import *", []),
        (f"import {'a' * MAX_IMPORT}, {'b' * (MAX_IMPORT + 1)}, gr\u00fcn", ["a" * MAX_IMPORT]),
        ("import (", []),
        ("", []),
    ],
)
def test_every_form_of_import(tmp_path: Path, source: str, expected: list[str]) -> None:
    """As a module, or as a name of one; what only type checkers see, ours, and what does something, is left out."""
    assert found(tmp_path, source) == expected


def test_modules_of_the_plugin_are_followed(tmp_path: Path) -> None:
    """However they are imported; each is read once, also where they import each other."""
    others = {
        "helpers/__init__.py": "import a\nfrom .deep import thing",
        "helpers/deep.py": "import b\nfrom helpers import other",
        "helpers/other/__init__.py": "import c\nimport endpoints.cat",
        "endpoints/near.py": "import d\nfrom ..top import x",
        "top.py": "import e\nfrom helpers.missing import y",
        "unused.py": "import f",
    }
    source = "import helpers\nfrom .near import z\nfrom endpoints import nothing"
    assert found(tmp_path, source, others) == ["a", "d", "b", "e", "c"]


@pytest.mark.parametrize("path", ["yaml.py", "yaml/nothing.txt", "yaml.cpython-312.so"])
def test_names_that_the_plugin_has_itself(tmp_path: Path, path: str) -> None:
    """They come first."""
    assert found(tmp_path, "import yaml, json", {path: ""}) == ["json"]


@pytest.mark.parametrize("path", ["vendor/yaml.py", "lib/yaml/__init__.py", "endpoints/yaml.py"])
def test_names_that_the_plugin_has_elsewhere(tmp_path: Path, path: str) -> None:
    """They come first only if a source says so; `endpoints/yaml.py` is quite usual in a plugin that needs yaml."""
    others = {path: "", "top.py": "import sys\nsys.path.insert(0, 'vendor')"}
    assert found(tmp_path, "import yaml, json", others) == ["yaml", "json"]
    assert found(tmp_path, "import yaml, json, top", others) == ["json", "sys"]
    assert found(tmp_path, "import yaml, json, site\nsite.addsitedir('lib')", others) == ["json", "site"]


def test_environment_in_the_folder(tmp_path: Path) -> None:
    """What lies in a virtual environment, or in a hidden folder, is not the plugin's own."""
    others = {"venv/pyvenv.cfg": "", "venv/lib/yaml.py": "", ".git/yaml.py": ""}
    assert found(tmp_path, "import yaml\nsys.path.append('lib')", others) == ["yaml"]


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['TZ'] = 'UTC'",
        "del os.environ['TZ']",
        "environ.setdefault('A', 'b')",
        "os.environ.update(A='b')",
        "os.putenv('A', 'b')",
        "sys.modules['sqlite3'] = sys.modules.pop('pysqlite3')",
        "sys.meta_path.insert(0, Finder())",
        "sys.path_hooks = []",
        "load_dotenv()",
        "dotenv.load_dotenv('x')",
        "monkey.patch_all()",
        "importlib.reload(httpx)",
        "def f():\n    os.environ['A'] = 'b'",
    ],
)
def test_who_meddles_gets_the_standard_library_only(tmp_path: Path, line: str) -> None:
    """A source may want what it has changed to be seen by what it imports afterwards."""
    assert found(tmp_path, f"import httpx\n{line}\nfrom json import loads") == ["json:loads"]
    assert found(tmp_path, "import top", {"top.py": f"import httpx\n{line}"}) == []


@pytest.mark.parametrize(
    "line", ["x = os.environ['TZ']", "os.environ.get('TZ')", "sys.path.insert(0, '.')", "modules = {}", "d.update(a=1)"]
)
def test_who_only_looks_does_not_meddle(tmp_path: Path, line: str) -> None:
    """Reading variables is common; and names of the plugin itself are left out anyway, wherever they lie."""
    assert found(tmp_path, f"import httpx\n{line}") == ["httpx"]


def test_bounds(tmp_path: Path) -> None:
    """However many imports, sources and bytes there are."""
    names = [f"m{number}" for number in range(MAX_IMPORTS + 10)]
    assert found(tmp_path, f"import {', '.join(names)}") == names[:MAX_IMPORTS]
    others = {f"p/m{number}.py": f"import n{number}" for number in range(3 * MAX_SOURCES)}
    many = found(tmp_path, "\n".join(f"import p.m{number}" for number in range(3 * MAX_SOURCES)), others)
    assert 0 < len(many) <= MAX_SOURCES
    big = {f"p/big{number}.py": f"import n{number}\n# {'x' * (MAX_BYTES // 4)}" for number in range(5)}
    assert found(tmp_path, "import p.big0, p.big1, p.big2, p.big3, p.big4", big) == ["n0", "n1", "n2"]


def test_of_all_endpoints(tmp_path: Path) -> None:
    """A plugin's imports are those of its endpoints' sources."""
    loaded = load(tmp_path, {**GOOD, "endpoints/cat.py": f"import json\n{GOOD['endpoints/cat.py']!s}"})
    assert loaded.plugin is not None
    assert loaded.plugin.imports == ("json", "dify_plugin:Endpoint", "werkzeug:Request", "werkzeug:Response")


PIECES = ["import ", "from ", ".", "a", "\n", " ", ",", "(", "if x:\n"]


@given(st.text(max_size=300) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_whatever_is_in_it(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    """Nothing is raised, and only names are found."""
    root = tmp_path_factory.mktemp("plugin")
    (root / "a.py").write_bytes(source.encode(errors="surrogatepass"))
    for text in find_imports(PluginFiles(root), ["a.py"]):
        module, _, name = text.partition(":")
        assert all(part.isidentifier() for part in module.split("."))
        assert not name or name.isidentifier()
