"""A plugin's own environment, seen from the worker's side: how its zygote comes to import from there.

Theory of operation
-------------------
The base zygote of such a plugin is run by an interpreter that has nothing but the standard library, and lends it our
packages (`worker.bootstrap`). Most of them are imported there and then. What needs `werkzeug` cannot be: that one is
the environment's, in whatever version the plugin wants, and nothing of an environment is imported before the zygote of
its plugin has given up the host. So the code of these modules is kept in memory (`LateModules`) until then.

The base zygote hides our packages and our `msgpack`, so that the environment may have modules of these names, other
versions too. The zygote of the plugin, once it sees nothing but its view:

1. takes the environment for its own, as the `site` module does at the start of `ENV/bin/python`;
2. imports the SDK, first of all, as a plugin does: its gevent wants to be the first to touch `ssl` and others;
3. imports the rest of ours, which for that moment find each other and the environment's `werkzeug`.
"""

from __future__ import annotations

import gc
import importlib
import importlib.abc
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.hiding import reveal_ourselves
from worker.tracebacks import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    from protocol import Invoke
    from worker.channel import Channel
    from worker.invoke import EndpointSource

__all__ = [
    "Answering",
    "EnvironmentUnfitError",
    "LateModules",
    "Runtime",
    "Serve",
    "enter_environment",
    "import_trusted",
    "load_runtime",
]

Serve = Callable[["Channel", "EndpointSource", "Sequence[str]"], bool]
"""Serves one invocation; see `worker.invoke`."""

Answering = Callable[["Channel", "EndpointSource", "Invoke"], None]
"""Answers one invocation that has been received; see `worker.invoke`."""

PACKAGE: Final = "worker"
PROGRAMS: Final = frozenset({"worker.__main__", "worker.bootstrap"})
WERKZEUG: Final = "werkzeug"


class EnvironmentUnfitError(Exception):
    """A plugin cannot be run in its environment; the text says what is missing in it."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What needs `werkzeug`.

    Attributes:
        serve: Serves one invocation, in a worker.
        answer: Answers one that has been received.
    """

    serve: Serve
    answer: Answering


class LateModules(importlib.abc.Loader):
    """Finds those modules of ours that were not imported when it was made, without any file."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[CodeType, str]] = {}
        for found in pkgutil.walk_packages(sys.modules[PACKAGE].__path__, f"{PACKAGE}."):
            if found.name in sys.modules or found.name in PROGRAMS:
                continue
            spec = importlib.util.find_spec(found.name)
            loader = spec.loader if spec is not None else None
            code = loader.get_code(found.name) if isinstance(loader, importlib.abc.InspectLoader) else None
            if spec is not None and spec.origin is not None and code is not None:
                self._kept[found.name] = (code, spec.origin)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that is kept."""
        del path, target
        if fullname not in self._kept:
            return None
        _, origin = self._kept[fullname]
        places = [os.path.dirname(origin)] if os.path.basename(origin) == "__init__.py" else None
        return importlib.util.spec_from_file_location(fullname, origin, loader=self, submodule_search_locations=places)

    def create_module(self, spec: ModuleSpec) -> None:
        """Have the usual kind of module made."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the code of a module."""
        code, _ = self._kept[module.__name__]
        exec(code, vars(module))  # noqa: S102 - that is how modules come to be


def enter_environment(folder: str) -> None:
    """Have this interpreter import from a virtual environment, as if it had been started by it.

    Args:
        folder: The environment's, with `pyvenv.cfg` and `bin/python`.

    Raises:
        EnvironmentUnfitError: It is for another version of Python, or nothing is there.
    """
    packages = f"{folder}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    if not os.path.isdir(packages):
        raise EnvironmentUnfitError(
            f"the environment {folder} has no packages for Python {sys.version_info.major}.{sys.version_info.minor}, "
            f"which its bin/python is: {packages} is not there; make it anew"
        )
    site = importlib.import_module("site")  # not earlier: it notes the prefix, which is still the base's
    sys.executable = f"{folder}/bin/python"
    sys.prefix = sys.exec_prefix = folder
    site.main()


def import_trusted(names: Sequence[str], folder: str) -> None:
    """Import modules that workers are to have in common.

    Args:
        names: Of modules.
        folder: The environment that they are in; empty for our own.

    Raises:
        EnvironmentUnfitError: One cannot be imported from that environment.
    """
    if folder and importlib.util.find_spec(WERKZEUG) is None:
        raise EnvironmentUnfitError(
            f"the environment {folder} has no werkzeug, and so no Dify SDK: "
            "name dify_plugin among the plugin's requirements, and install them there"
        )
    with _without_collections():
        for name in names:
            try:
                importlib.import_module(name)
            except Exception as error:
                if not folder:
                    raise
                raise EnvironmentUnfitError(
                    f"{name} cannot be imported from the environment {folder}: {describe_error(error)}"
                ) from error


@contextmanager
def _without_collections() -> Iterator[None]:
    """Have no garbage collected for a while: what modules make stays, and would be gone through again and again."""
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        yield
    finally:
        if gc.get_threshold()[0] == 0:  # otherwise a module has said what it wants
            gc.set_threshold(*before)


def load_runtime() -> Runtime:
    """Import what needs `werkzeug`, once that can be imported, whether our packages are hidden or not."""
    with reveal_ourselves():
        invoke = importlib.import_module("worker.invoke")
        return Runtime(serve=invoke.serve, answer=invoke.answer)
