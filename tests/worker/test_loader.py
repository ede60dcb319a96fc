"""Which class of a source is the endpoint, and what is said when there is not exactly one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker.loader import STAND_IN

if TYPE_CHECKING:
    from tests.worker.driver import Plugin

CLASS = "class {}(Endpoint):\n    def _invoke(self, r, values, settings): return Response(type(self).__module__)\n"
TOP = "from werkzeug import Response\nfrom dify_plugin import Endpoint\n"


def load(plugin: Plugin, source: str = "endpoints/main.py") -> str:
    """What a call brings: the body, or the error."""
    answer = plugin.call(source)
    return f"{answer.error.code}: {answer.error.message}" if answer.error else answer.body.decode()


def test_no_endpoint(plugin: Plugin) -> None:
    """A source without an endpoint is refused; importing the base class is not defining one."""
    plugin.write("endpoints/main.py", TOP)

    assert load(plugin) == "load: endpoints/main.py: no subclass of dify_plugin.Endpoint found; define exactly one"


def test_several_endpoints(plugin: Plugin) -> None:
    """Several endpoints are refused by name; imported ones and aliases count."""
    plugin.write("shared.py", TOP + CLASS.format("Base"))
    plugin.write("endpoints/main.py", TOP + "from shared import Base\n" + CLASS.format("Duck") + "Alias = Duck\n")

    assert load(plugin) == (
        "load: endpoints/main.py: 3 subclasses of dify_plugin.Endpoint found (Alias, Base, Duck); "
        "exactly one is allowed, and imported names count"
    )


def test_abstract_endpoint(plugin: Plugin) -> None:
    """A class without `_invoke` is refused when it is loaded."""
    plugin.write("endpoints/main.py", TOP + "class Duck(Endpoint): pass\n")

    assert load(plugin) == "load: endpoints/main.py: Duck does not define _invoke"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("endpoints/main.py", "endpoints.main"),
        ("endpoints/whatsapp-bot.py", "endpoints.whatsapp-bot"),
        ("top.py", "top"),
        ("a-b/c.d/e.py", "a-b.c.d.e"),
    ],
)
def test_module_name(plugin: Plugin, source: str, name: str) -> None:
    """The module has the name of its path, be it an identifier or not."""
    plugin.write(source, TOP + CLASS.format("Duck"))

    assert name == load(plugin, source)


def test_not_in_sys_modules(plugin: Plugin) -> None:
    """The source itself is not in `sys.modules`: a sibling that imports it gets another copy, as with the SDK."""
    plugin.write("endpoints/shared.py", "from endpoints import main\nother = main.E\n")
    plugin.write(
        "endpoints/main.py",
        TOP + "import sys\nstate = []\nclass E(Endpoint):\n    def _invoke(self, r, values, settings):\n"
        "        before = 'endpoints.main' in sys.modules\n"
        "        from endpoints.shared import other\n"
        "        return Response(f'{before} {other is type(self)}')\n",
    )
    assert load(plugin) == "False False"


def test_imports_around_it(plugin: Plugin) -> None:
    """Absolute, relative and namespace imports work, and the package above is executed first."""
    plugin.write("endpoints/__init__.py", "mark = 'package'\n")
    plugin.write("endpoints/auth.py", "class Auth: name = 'auth'\n")
    plugin.write("utils/crypto.py", "name = 'crypto'\n")
    plugin.write("endpoints/page.html", "<p>")
    plugin.endpoint(
        """
        beside = os.path.join(os.path.dirname(__file__), "page.html")
        return Response(f"{self.name} {name} {mark} {open(beside).read()} {open('endpoints/page.html').read()}")
        """,
        top="""
        from endpoints.auth import Auth
        from .auth import Auth as Same
        from utils.crypto import name
        from . import mark
        """,
    )
    text = (plugin.root / "endpoints/main.py").read_text()
    plugin.write("endpoints/main.py", text.replace("Main(Endpoint)", "Main(Endpoint, Auth)"))

    assert load(plugin) == "auth crypto package <p> <p>"


def test_error_in_package(plugin: Plugin) -> None:
    """An exception of the package above is an error of the source."""
    plugin.write("endpoints/__init__.py", "1 / 0\n")
    plugin.write("endpoints/main.py", TOP + CLASS.format("Duck"))

    assert load(plugin) == "load: endpoints/main.py: ZeroDivisionError: division by zero"


def test_not_python(plugin: Plugin) -> None:
    """A file with another suffix is refused."""
    plugin.write("endpoints/main.txt", "")

    assert "not a Python source" in load(plugin, "endpoints/main.txt")


def test_main_is_not_executed(plugin: Plugin) -> None:
    """The plugin's `main.py` is left alone."""
    plugin.write("main.py", "raise SystemExit('executed')\n")
    plugin.write("endpoints/main.py", TOP + CLASS.format("Duck"))

    assert load(plugin) == "endpoints.main"


def test_stand_in_gives_way(tmp_path: Path) -> None:
    """Where `dify_plugin` is installed, the stand-in is not put on the import path."""
    program = "import sys; from worker.loader import *; provide_sdk(); print(sys.path[-1], sdk_version())"

    def run(*folders: Path) -> list[str]:
        code = f"import sys; sys.path[:0] = {[str(f) for f in folders]}; {program}"
        return subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert run() == [STAND_IN, "stand-in"]
    (tmp_path / "dify_plugin").mkdir()
    (tmp_path / "dify_plugin/__init__.py").write_text("")
    assert run(tmp_path)[1] == "unknown"
    (tmp_path / "dify_plugin-1.2.3.dist-info").mkdir()
    assert run(tmp_path)[1] == "1.2.3"
    assert run(tmp_path)[0] != STAND_IN
