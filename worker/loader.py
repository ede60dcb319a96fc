"""Finds the one endpoint class in a source file, by the rules of the Dify SDK.

The file is executed under the name that the SDK would give it (`endpoints/duck.py` is `endpoints.duck`), after the
packages above it, but is not put into `sys.modules`. Exactly one name in it may be a strict subclass of
`dify_plugin.Endpoint`; imported names count.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from protocol import COMPILE_SOURCE
from worker.bytecode import BytecodeLoader, CompilePlugin
from worker.channel import Cancelled, NotTheWorkerError
from worker.tracebacks import describe_error
from worker.versions import installed_version

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["SDK", "STAGE", "STAND_IN", "EndpointClass", "LoadError", "Loader", "provide_sdk", "sdk_version"]

SDK: Final = "dify_plugin"
STAND_IN: Final = str(Path(__file__).parent / "sdk")
"""Folder of the bundled `dify_plugin`."""

STAGE: Final = str(Path(__file__).parent / "stage")
"""Folder of the plugin of the rehearsal."""

EndpointClass = type[Any]
"""A subclass of `dify_plugin.Endpoint`: the real one, or the stand-in's."""


class LoadError(Exception):
    """A source holds no endpoint that could be called. The cause, if there is one, is the endpoint's own exception."""


def provide_sdk() -> None:
    """Make sure that `dify_plugin` can be imported: the stand-in serves where the SDK is not installed."""
    if SDK not in sys.modules and importlib.util.find_spec(SDK) is None:
        sys.path.append(STAND_IN)


def sdk_version() -> str:
    """Return the version of the SDK that endpoints get, or `stand-in`."""
    spec = importlib.util.find_spec(SDK)
    if spec is None or spec.origin is None or spec.origin.startswith(STAND_IN + os.sep):
        return "stand-in"
    return installed_version(SDK, spec.origin)


class Loader:
    """Loads endpoint classes of one plugin, each source once.

    Args:
        root: The plugin's folder, which must be on `sys.path` already.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._classes: dict[str, EndpointClass] = {}
        self._modules: dict[str, tuple[ModuleType, BytecodeLoader]] = {}

    def prepare(self, sources: Sequence[str]) -> None:
        """Make the modules of sources, empty: what costs time and is the same for all workers. No code of theirs runs.

        Args:
            sources: What `load` will be asked for. The modules of others, and empty ones of earlier times, are let go.
        """
        self._modules.clear()
        for source in sources:
            with suppress(LoadError, OSError, ValueError):  # a worker says what is wrong with it
                self._modules[source] = _make_module(self._root, source)

    def load(self, source: str) -> EndpointClass:
        """Return the endpoint class of a source.

        Args:
            source: Path of the file, relative to the root, with `/`.

        Raises:
            LoadError: There is no such file, it raised, or it does not define exactly one endpoint.
        """
        if source == COMPILE_SOURCE:
            return type("CompilePlugin", (CompilePlugin,), {"root": self._root})
        if source not in self._classes:
            self._classes[source] = _only_endpoint(source, self._execute(source))
        return self._classes[source]

    def _execute(self, source: str) -> ModuleType:
        if source not in self._modules:
            self._modules[source] = _make_module(self._root, source)
        module, loader = self._modules.pop(source)
        if not os.path.isfile(loader.path):
            raise LoadError(f"{source}: there is no such file in the plugin")
        try:
            _import_parent(module.__name__)
            loader.exec_module(module)
        except (Cancelled, NotTheWorkerError):
            raise
        except BaseException as error:
            raise LoadError(f"{source}: {describe_error(error)}") from error
        return module


def _make_module(root: str, source: str) -> tuple[ModuleType, BytecodeLoader]:
    """Make the empty module of a source, and what will fill it."""
    path, name = f"{root}/{source}", source.removesuffix(".py").replace("/", ".")
    loader = BytecodeLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or not source.endswith(".py"):
        raise LoadError(f"{source}: not a Python source; expected a name that ends in .py")
    return importlib.util.module_from_spec(spec), loader


def _import_parent(name: str) -> None:
    """Import the package that holds a source, as any import of the source would do, if it can be imported by name."""
    parent = name.rpartition(".")[0]
    if not parent or parent in sys.modules:
        return
    try:
        importlib.import_module(parent)
    except ModuleNotFoundError as error:
        if not f"{parent}.".startswith(f"{error.name}."):
            raise


def _only_endpoint(source: str, module: ModuleType) -> EndpointClass:
    base = importlib.import_module(SDK).Endpoint
    classes = {name: value for name, value in vars(module).items() if isinstance(value, type) and value is not base}
    found = {name: value for name, value in classes.items() if base in value.__mro__}
    if not found:  # rarely: one that is registered as a subclass, as `abc` has it
        found = {name: value for name, value in classes.items() if issubclass(value, base)}
    if not found:
        raise LoadError(f"{source}: no subclass of dify_plugin.Endpoint found; define exactly one")
    if len(found) > 1:
        names = ", ".join(sorted(found))
        raise LoadError(
            f"{source}: {len(found)} subclasses of dify_plugin.Endpoint found ({names}); exactly one is allowed, "
            "and imported names count"
        )
    (endpoint,) = found.values()
    if missing := ", ".join(sorted(getattr(endpoint, "__abstractmethods__", ()))):
        raise LoadError(f"{source}: {endpoint.__name__} does not define {missing}")
    return endpoint
