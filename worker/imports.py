"""What can be done for a plugin's imports before the fork: to know its files, without running anything of it."""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    NamespaceLoader,
    SourcelessFileLoader,
)
from importlib.util import find_spec
from typing import Final

from worker.bytecode import BytecodeLoader

__all__ = ["find_folders", "find_plugin_modules", "import_namespaces"]

MAX_FOLDERS: Final = 64
"""Folders of a plugin whose content is looked up before the fork."""


def find_plugin_modules(root: str) -> None:
    """Have modules of a plugin, and of its packages, imported from their byte code."""

    def find(path: str) -> FileFinder:
        if path != root and not path.startswith(f"{root}/"):
            raise ImportError(path)
        return FileFinder(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (BytecodeLoader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    sys.path_hooks.insert(0, find)


def find_folders(root: str) -> None:
    """Have the import system know the plugin's folders and what is in them."""
    folders = (folder for folder, _, names in os.walk(root) if any(name.endswith(".py") for name in names))
    for folder in itertools.islice(folders, MAX_FOLDERS):
        finder = pkgutil.get_importer(folder)
        if finder is not None:
            finder.find_spec("")


def import_namespaces(root: str, sources: Iterable[str]) -> None:
    """Import the packages above some sources, as far as they are nothing but folders: there is nothing to run."""
    sys.path.insert(0, root)
    try:
        for name in _list_packages(sources):
            if name in sys.modules:
                continue
            try:
                spec = find_spec(name)
                if spec is None or not (spec.loader is None or isinstance(spec.loader, NamespaceLoader)):
                    return
                importlib.import_module(name)
            except (ImportError, ValueError):
                return
    finally:
        sys.path.remove(root)


def _list_packages(sources: Iterable[str]) -> Iterator[str]:
    """The names of the packages above sources, outer ones first: find_spec imports what is above a name."""
    for source in sources:
        *folders, _ = source.split("/")
        yield from itertools.accumulate(folders, lambda above, name: f"{above}.{name}")
