"""What the imports of a plugin's sources lead to: the SDK, the standard library, or other sources of the plugin."""

from __future__ import annotations

import contextlib
import posixpath
import sys
from typing import Final

from executor.catalog.files import FileError, PluginFiles
from executor.catalog.namespace import Meaning, Name, Namespace, is_class_like, read_namespace
from executor.catalog.python_source import SourceSyntaxError, SourceTooComplexError, parse_source

__all__ = ["Modules", "absolute_name"]

MAX_BYTES: Final = 2 * 1024 * 1024
"""Bytes of sources that are read for one plugin; some seconds at worst."""

MAX_HOPS: Final = 8
"""How many imports in a row are followed."""

SDK: Final = "dify_plugin"

ENDPOINT: Final = "Endpoint"
"""The name of the base class, wherever in the SDK it is imported from."""

PLAIN: Final = sys.stdlib_module_names | {"flask", "httpx", "pydantic", "requests", "werkzeug", "yaml"}
"""Packages that certainly have no endpoints in them."""


class Modules:
    """The sources of one plugin as modules.

    Args:
        files: The plugin.
    """

    def __init__(self, files: PluginFiles) -> None:
        self._files = files
        self._known: dict[str, Namespace] = {}
        self._bytes = 0
        self._hops = 0

    def read(self, path: str, content: bytes) -> Namespace:
        """Find what the names of a source stand for.

        Args:
            path: Relative to the plugin's folder.
            content: What is in the file.

        Raises:
            SourceSyntaxError: It is not Python.
            SourceTooComplexError: It, or what was read for this plugin, is too much to check.
        """
        self._bytes += len(content)
        if self._bytes > MAX_BYTES:
            raise SourceTooComplexError(f"more than {MAX_BYTES} bytes in all sources")
        tree = parse_source(content)
        self._hops += 1
        try:
            return read_namespace(tree, _Place(self, posixpath.dirname(path)))
        finally:
            self._hops -= 1

    def find(self, module: str, name: str) -> Name:
        """What `from module import name` binds."""
        top = module.partition(".")[0]
        if top == SDK:
            return _find_in_sdk(module, name)
        namespace = self._follow(module)
        if namespace is not None and name in namespace.names:
            return namespace.names[name]
        if namespace is None or namespace.complete:
            submodule = f"{module}.{name}" if module else name
            if self._locate(submodule) is not None or self._is_folder(submodule):
                return Name(Meaning.OTHER, module=submodule)
        if namespace is None and not self._is_folder(module) and (top in PLAIN or not is_class_like(name)):
            return Name(Meaning.OTHER, module=f"{module}.{name}")
        return Name(Meaning.UNKNOWN)

    def find_all(self, module: str) -> Namespace:
        """What `from module import *` binds."""
        top = module.partition(".")[0]
        if top == SDK:
            return Namespace({ENDPOINT: _find_in_sdk(module, ENDPOINT)})
        namespace = self._follow(module)
        if namespace is None:
            return Namespace(complete=top in PLAIN)
        names = {name: found for name, found in namespace.names.items() if not name.startswith("_")}
        return Namespace(names, complete=namespace.complete and "__all__" not in namespace.names)

    def _follow(self, module: str) -> Namespace | None:
        """Read a module of the plugin; `None` when the plugin has no such module."""
        path = self._locate(module)
        if path is None:
            return None
        if path not in self._known:
            self._known[path] = Namespace(complete=False)
            if self._hops <= MAX_HOPS:
                with contextlib.suppress(FileError, SourceSyntaxError, SourceTooComplexError):
                    self._known[path] = self.read(path, self._files.read(path))
        return self._known[path]

    def _locate(self, module: str) -> str | None:
        """Find the file of a module in the plugin."""
        if not module:
            return None
        path = module.replace(".", "/")
        for candidate in (f"{path}/__init__.py", f"{path}.py"):
            try:
                return self._files.locate(candidate)
            except FileError:
                continue
        return None

    def _is_folder(self, module: str) -> bool:
        """Tell whether a module is a folder of the plugin, with or without an `__init__.py`."""
        return not module or self._files.has_folder(module.replace(".", "/"))


class _Place:
    """Imports as they look from one folder of the plugin."""

    def __init__(self, modules: Modules, folder: str) -> None:
        self._modules = modules
        self._folder = folder

    def find(self, module: str, name: str) -> Name:
        """What `from module import name` binds."""
        return self._modules.find(module, name)

    def find_all(self, module: str) -> Namespace:
        """What `from module import *` binds."""
        return self._modules.find_all(module)

    def absolute(self, module: str, level: int) -> str:
        """The dotted name of a module from the plugin's folder."""
        return absolute_name(self._folder, module, level)


def absolute_name(folder: str, module: str, level: int) -> str:
    """The dotted name of a module from the plugin's folder, as a source imports it.

    Args:
        folder: Of the source, relative to the plugin's.
        module: As the source names it; empty for what the dots alone say.
        level: Leading dots.
    """
    if level == 0:
        return module
    parts = [part for part in folder.split("/") if part]
    parts = parts[: max(len(parts) - (level - 1), 0)]
    return ".".join([*parts, module] if module else parts)


def _find_in_sdk(module: str, name: str) -> Name:
    if name == ENDPOINT:
        return Name(Meaning.BASE)
    return Name(Meaning.OTHER, module=f"{module}.{name}")
