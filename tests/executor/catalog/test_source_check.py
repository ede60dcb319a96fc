"""The sources of endpoints are understood without running them; what cannot be known is left to the worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.executor.catalog.plugins import GOOD, load

CLASS = "class Cat(Endpoint):\n    def _invoke(self, r, values, settings): ...\n"
IMPORT = "from dify_plugin import Endpoint\n"


def _codes(root: Path, source: str, others: Mapping[str, str] | None = None) -> list[str]:
    """Check a source, with other sources of the plugin by their paths."""
    loaded = load(root, {**GOOD, **(others or {}), "endpoints/cat.py": source})
    assert (loaded.plugin is None) == bool(loaded.findings)
    return [finding.code for finding in loaded.findings]


@pytest.mark.parametrize(
    "imports",
    [
        "from dify_plugin import Endpoint",
        "from dify_plugin.interfaces.endpoint import Endpoint",
        "from dify_plugin import *",
        "import dify_plugin\nEndpoint = dify_plugin.Endpoint",
        "import dify_plugin as d\nEndpoint = d.interfaces.endpoint.Endpoint",
        "import dify_plugin.interfaces.endpoint\nEndpoint = dify_plugin.interfaces.endpoint.Endpoint",
        "from dify_plugin import interfaces as i\nEndpoint = i.endpoint.Endpoint",
        "try:\n from dify_plugin import Endpoint\nexcept E:\n from dify_plugin.interfaces.endpoint import Endpoint",
        "if x > (3, 12):\n from dify_plugin import Endpoint\nelse:\n from dify_plugin.interfaces import Endpoint",
    ],
)
def test_the_base_class_is_recognised(tmp_path: Path, imports: str) -> None:
    """However it is imported: one class is right, two are too many."""
    second = CLASS.replace("Cat", "Dog")

    assert _codes(tmp_path, f"{imports}\n{CLASS}") == []
    assert _codes(tmp_path, f"{imports}\n{CLASS}{second}") == ["source.several_classes"]


@pytest.mark.parametrize(
    "source",
    [
        "from dify_plugin import Endpoint as E\nclass Cat(E):\n    def _invoke(self, r, values, settings): ...\n",
        "import dify_plugin as d\nclass Cat(d.Endpoint):\n    def _invoke(self, r, values, settings): ...\n",
        f"{IMPORT}class Mixin: ...\n{CLASS.replace('Endpoint', 'Endpoint, Mixin')}",
        f"{IMPORT}class Mixin:\n    def _invoke(self): ...\nclass Cat(Mixin, Endpoint): ...\n",
        f"{IMPORT}from typing import Generic, T\n{CLASS.replace('Endpoint', 'Endpoint, Generic[T]')}",
        f"{IMPORT}def register(c): return c\n@register\nclass Cat(Endpoint): ...\n",
        f"{IMPORT}class Cat(Endpoint):\n    _invoke = lambda self, r, values, settings: None\n",
        f"{IMPORT}class Cat(Endpoint):\n    from somewhere import _invoke\n",
        f"{IMPORT}class Cat(Endpoint):\n    if True:\n        def _invoke(self, r, values, settings): ...\n",
        f"{IMPORT}{CLASS}    def helper(self):\n        yield 1\n        async def inner(): ...\n",
        f"{IMPORT}class Cat(Endpoint):\n def _invoke(self, r, v, s):\n  def body():\n   yield 1\n  return R(body())\n",
        f"{IMPORT}class Base(Endpoint):\n    def _invoke(self, r, v, s): ...\nclass Cat(Base): ...\ndel Base\n",
        f"{IMPORT}{CLASS}{CLASS}",
        f"{IMPORT}from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    class X(Endpoint): ...\n{CLASS}",
        f"{IMPORT}{CLASS}if __name__ == '__main__':\n    class X(Endpoint): ...\n",
        f"{IMPORT}with open('x') as f:\n    {CLASS.replace(chr(10) + '    ', chr(10) + '        ')}",
        f"#!/usr/bin/python\n# -*- coding: utf-8 -*-\n'''Ünïcode'''\n{IMPORT}{CLASS}",
        f"{IMPORT}x = '\\d'\n{CLASS}",
    ],
)
def test_good_sources(tmp_path: Path, source: str) -> None:
    """Nothing is found where the worker would find exactly one class."""
    assert _codes(tmp_path, source) == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", "source.no_class"),
        (IMPORT, "source.no_class"),
        (f"{IMPORT}Alias = Endpoint", "source.no_class"),
        ("import os\nclass Endpoint: ...\nclass Cat(Endpoint): ...", "source.no_class"),
        ("class Cat(Exception): ...", "source.no_class"),
        (
            "from werkzeug import Request, Response\nfrom typing import Mapping\nx = Mapping[str, int]",
            "source.no_class",
        ),
        ("from dify_plugin import Tool\nclass Cat(Tool): ...", "source.no_class"),
        (f"{IMPORT}{CLASS}del Cat", "source.no_class"),
        (f"{IMPORT}def make():\n    class Cat(Endpoint): ...", "source.no_class"),
        (f"{IMPORT}if __name__ == '__main__':\n    class Cat(Endpoint): ...", "source.no_class"),
        ("import logging\nlogger = logging.getLogger(__name__)\nx, y = 1, 2", "source.no_class"),
        (f"{IMPORT}{CLASS}Alias = Cat", "source.several_classes"),
        (f"{IMPORT}class Base(Endpoint): ...\nclass Cat(Base): ...", "source.several_classes"),
        (f"{IMPORT}{CLASS}class Dog(Cat): ...", "source.several_classes"),
        (f"{IMPORT}class Cat(Endpoint): ...", "source.no_invoke"),
    ],
)
def test_bad_sources(tmp_path: Path, source: str, code: str) -> None:
    """What the worker would refuse is found."""
    assert _codes(tmp_path, source) == [code]


@pytest.mark.parametrize(
    "source",
    [
        "from somewhere import BaseEndpoint\nclass Cat(BaseEndpoint): ...",
        "from somewhere import CatEndpoint",
        "from somewhere import *",
        "import somewhere\nclass Cat(somewhere.Base): ...",
        f"{IMPORT}def make(): ...\nCat = make()",
        f"{IMPORT}Cat = type('Cat', (Endpoint,), {{}})",
        f"{IMPORT}globals()['Cat'] = type('Cat', (Endpoint,), {{}})",
        "exec('from dify_plugin import Endpoint')",
        f"{IMPORT}import sys\nif sys.platform == 'linux':\n    {CLASS.replace(chr(10) + '    ', chr(10) + '        ')}",
        f"{IMPORT}if cat:\n    class A(Endpoint): ...\nelse:\n    class B(Endpoint): ...",
        "try:\n from dify_plugin import Endpoint\nexcept E:\n Endpoint = object\nclass Cat(Endpoint): ...",
        f"{IMPORT}for x in y:\n    class A(Endpoint): ...",
        f"{IMPORT}match x:\n    case 1:\n        class A(Endpoint): ...",
        f"{IMPORT}class Cat(make(Endpoint)): ...",
        f"{IMPORT}class Cat(*bases): ...",
        f"{IMPORT}class Cat(Endpoint if x else object): ...",
    ],
)
def test_what_cannot_be_known_is_left_to_the_worker(tmp_path: Path, source: str) -> None:
    """Nothing is said that might be wrong."""
    assert _codes(tmp_path, source) == []


BASE = f"{IMPORT}class Base(Endpoint):\n    def _invoke(self, r, values, settings): ...\n"

OTHERS = {
    "endpoints/base.py": BASE,
    "endpoints/circle.py": "from endpoints.circle2 import Circle",
    "endpoints/circle2.py": "from endpoints.circle import Circle",
    "helpers/__init__.py": "from helpers.tools import Helper",
    "helpers/tools.py": "class Helper: ...",
    "json.py": "from endpoints.base import Base as JSONDecoder",
}


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("from endpoints.base import Base\nclass Cat(Base): ...", ["source.several_classes"]),
        ("from endpoints.base import Base", []),
        ("from endpoints.base import Base as _Base\nclass Cat(_Base): ...\ndel _Base", []),
        ("from .base import Base\nclass Cat(Base): ...", ["source.several_classes"]),
        ("from . import base\nclass Cat(base.Base): ...", []),
        (
            "from endpoints import base\nclass Cat(base.Base): ...\nclass Dog(base.Base): ...",
            ["source.several_classes"],
        ),
        ("import endpoints.base\nclass Cat(endpoints.base.Base): ...", []),
        ("import endpoints.base as b\nclass Cat(b.Base): ...\nDog = Cat", ["source.several_classes"]),
        ("from endpoints.base import *", []),
        ("from endpoints.base import *\nclass Cat(Base): ...", ["source.several_classes"]),
        ("from endpoints.base import Endpoint\nclass Cat(Endpoint):\n    def _invoke(self, r, v, s): ...", []),
        ("from endpoints.base import Nothing\nclass Cat(Nothing): ...", []),
        ("from endpoints.nowhere import Nothing\nclass Cat(Nothing): ...", []),
        ("from helpers.tools import Helper\nclass Cat(Helper): ...", ["source.no_class"]),
        ("from helpers import Helper\nclass Cat(Helper): ...", ["source.no_class"]),
        ("from helpers import tools\nclass Cat(tools.Helper): ...", ["source.no_class"]),
        ("from json import JSONDecoder\nclass Cat(JSONDecoder): ...", ["source.several_classes"]),
        ("from endpoints.circle import Circle\nclass Cat(Circle): ...", []),
        ("from ...... import x\nfrom .......a import Y", []),
    ],
)
def test_imports_inside_of_the_plugin_are_followed(tmp_path: Path, source: str, codes: list[str]) -> None:
    """A shared base class counts when it is imported by its name, as it does in Dify."""
    assert _codes(tmp_path, source, OTHERS) == codes


def test_names_and_lines_of_several_classes_are_listed(tmp_path: Path) -> None:
    """All of them, at the place of the second."""
    source = f"{IMPORT}{CLASS}\n\n{CLASS.replace('Cat', 'Dog')}Alias = Cat\n"

    (finding,) = load(tmp_path, {**GOOD, "endpoints/cat.py": source}).findings

    assert (finding.file, finding.line, finding.column) == (Path("endpoints/cat.py"), 6, 1)
    assert finding.found == "Cat on line 2, Dog on line 6, Alias on line 8"


@pytest.mark.parametrize("source", [b"x = 1\0", "x = 'é'".encode("latin-1"), b"# coding: nonsense\n", b"\xff\xfe"])
def test_sources_that_are_not_text(tmp_path: Path, source: bytes) -> None:
    """Bytes that are not text in the encoding that they claim are a finding; where depends on Python."""
    assert [finding.code for finding in load(tmp_path, {**GOOD, "endpoints/cat.py": source}).findings] == [
        "source.syntax"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "(" * 100_000,
        "a" + ".b" * 100_000,
        "1" + "+1" * 100_000,
        "if a:\n b\n" + "elif a:\n b\n" * 10_000,
        "f(" * 150 + ")" * 150,
        "{a:" * 90 + "x y" + "}" * 90,
        "x = [" + "1," * 100_000 + "]",
        "\n".join(f"if a:\n b{number} = 1" for number in range(10_000)),
        "x = f'" + "{x}" * 9_000 + "'",
        "lambda: " * 10_000 + "1",
        "import " + "a" + ".a" * 100_000,
        "from " + "a" + ".a" * 50_000 + " import B",
        "class A" + "(" * 50 + ")" * 50 + ": ...",
    ],
)
def test_sources_made_to_break_the_parser(tmp_path: Path, source: str) -> None:
    """Deep, wide and branching sources end in a finding or in none, and soon."""
    load(tmp_path, {**GOOD, "endpoints/cat.py": source})


def test_many_large_sources_are_not_all_read(tmp_path: Path) -> None:
    """The checker reads a bounded amount in all; what is beyond is said to be unchecked."""
    files = {f"endpoints/e{number}.py": f"{IMPORT}{CLASS}{'#' * 200_000}" for number in range(20)}
    group = "endpoints:\n" + "".join(
        f"  - {{path: /{number}, method: GET, extra: {{python: {{source: endpoints/e{number}.py}}}}}}\n"
        for number in range(20)
    )

    loaded = load(tmp_path, {**GOOD, **files, "group/cat.yaml": group})

    assert loaded.plugin is not None
    assert {finding.code for finding in loaded.findings} == {"source.unchecked"}
    assert 5 < len(loaded.findings) < 15
