"""What a plugin's sources import from outside of its folder, found by reading them.

The plugin's zygote imports it once, so that workers need not (decision 0033). Nothing depends on that: what is not
found here, or cannot be imported there, is imported by each worker. So this keeps away from what is doubtful:

- names that the plugin has itself: at the top of its folder, and anywhere in it where a source changes `sys.path`;
- everything but the standard library, where a source changes what others import or find in `os.environ`.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import posixpath
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from executor.catalog.files import FileError, PluginFiles
from executor.catalog.modules import absolute_name
from executor.catalog.namespace import never_runs
from executor.catalog.python_source import SourceSyntaxError, SourceTooComplexError, parse_source
from protocol.limits import MAX_IMPORT, MAX_IMPORTS

__all__ = ["find_imports"]

MAX_SOURCES: Final = 64
"""Sources that are read for one plugin."""

MAX_BYTES: Final = 512 * 1024
"""Bytes of them that are read; less than half a second's work."""

MAX_ENTRIES: Final = 10_000
"""Files and folders of a plugin that are looked at."""

_MODULES: Final = (".py", ".pyc", ".so", ".zip")
"""How files end that modules may come from."""

STANDARD: Final = sys.stdlib_module_names

_LEFT_ALONE: Final = frozenset(
    {"__future__", "__main__", "antigravity", "executor", "idlelib", "protocol", "test", "this", "worker"}
)
"""Modules that do something when they are imported, and ours."""

_TABLES: Final = frozenset({"environ", "meta_path", "modules", "path_hooks"})
"""Attributes of `os` and `sys` that decide what an import does."""

_CHANGES: Final = frozenset({"append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"})
_CHANGERS: Final = frozenset({"load_dotenv", "patch_all", "putenv", "reload", "unsetenv"})


def find_imports(files: PluginFiles, sources: Iterable[str]) -> tuple[str, ...]:
    """Find what some sources, and the modules of the plugin that they import, import from elsewhere.

    Args:
        files: The plugin.
        sources: Paths relative to its folder.

    Returns:
        Modules in the order in which they are met, as `package.module`, or `package.module:name` for a name that is
        imported from one; each once, at most MAX_IMPORTS.
    """
    reader = _Reader(files)
    reader.read_all(sources)
    own = _list_names(files.root) if reader.wandering else frozenset()
    tops = {text: _top(text) for text in reader.outside}
    found = (text for text, top in tops.items() if top not in own and not (reader.meddling and top not in STANDARD))
    return tuple(itertools.islice(found, MAX_IMPORTS))


class _Reader:
    """Reads sources one after another, each once.

    Attributes:
        outside: What they import from elsewhere, in order.
        meddling: Whether one of them changes what others import.
        wandering: Whether one of them looks for modules elsewhere than at the top of the plugin's folder.
    """

    def __init__(self, files: PluginFiles) -> None:
        self.outside: dict[str, None] = {}
        self.meddling = self.wandering = False
        self._files = files
        self._own = _list_names(files.root, deep=False)
        self._waiting: deque[str] = deque()
        self._seen: set[str] = set()

    def read_all(self, sources: Iterable[str]) -> None:
        """Read sources, and what they import of the plugin."""
        left = MAX_BYTES
        for source in sources:
            self._follow(source)
        while self._waiting:
            path = self._waiting.popleft()
            try:
                content = self._files.read(path)
                left -= len(content)
                if left < 0:
                    return
                self._read(parse_source(content), posixpath.dirname(path))
            except (FileError, SourceSyntaxError, SourceTooComplexError):
                continue  # whoever imports it is told

    def _read(self, tree: ast.Module, folder: str) -> None:
        for node in _walk(tree):
            match node:
                case ast.Import():
                    for alias in node.names:
                        self._note(alias.name, ())
                case ast.ImportFrom():
                    module, names = node.module or "", [alias.name for alias in node.names]
                    if node.level == 0:
                        self._note(module, names)
                    else:
                        self._follow_all(absolute_name(folder, module, node.level), names)
                case _:
                    self.meddling = self.meddling or _meddles(node)
                    self.wandering = self.wandering or _wanders(node)

    def _note(self, module: str, names: Sequence[str]) -> None:
        """Take account of one import."""
        top = _top(module)
        if top in self._own:
            self._follow_all(module, names)
        elif top not in _LEFT_ALONE:
            for text in [f"{module}:{name}" for name in names if name != "*"] or [module]:
                if text.isascii() and len(text) <= MAX_IMPORT:
                    self.outside[text] = None

    def _follow_all(self, module: str, names: Sequence[str]) -> None:
        """Have a module of the plugin read, what is above it, and what may be modules in it."""
        parts = module.split(".") if module else []
        for count in range(1, len(parts)):
            self._follow("/".join((*parts[:count], "__init__.py")))
        for path in ("/".join(parts), *("/".join((*parts, name)) for name in names)):
            self._follow(f"{path}.py")
            self._follow(f"{path}/__init__.py")

    def _follow(self, path: str) -> None:
        """Have a source read, if it is there."""
        if path in self._seen or len(self._seen) >= MAX_ENTRIES:
            return
        self._seen.add(path)
        if len(self._waiting) < MAX_SOURCES:
            with contextlib.suppress(FileError):
                self._waiting.append(self._files.locate(path))


def _top(text: str) -> str:
    """The package that a module is in."""
    return text.partition(":")[0].partition(".")[0]


def _list_names(root: Path, *, deep: bool = True) -> frozenset[str]:
    """What modules at the top of a plugin, or anywhere in it, may be called; not those of an environment in it."""
    names: set[str] = set()
    left = MAX_ENTRIES
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name[:1] != "." and not Path(folder, name, "pyvenv.cfg").exists()]
        left -= len(folders) + len(files)
        names.update(folders)
        names.update(name.partition(".")[0] for name in files if name.endswith(_MODULES))
        if left < 0 or not deep:
            break
    return frozenset(names)


def _walk(tree: ast.Module) -> Iterator[ast.AST]:
    """Go through a source in order, without what never runs."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and never_runs(node.test):
            waiting.extend(reversed(node.orelse))
        else:
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _meddles(node: ast.AST) -> bool:
    """Recognise what changes what others import: `sys.modules[...] = `, `os.environ.update(...)`, `load_dotenv()`."""
    match node:
        case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()):
            return _name(value) in _TABLES
        case ast.Attribute(ctx=ast.Store() | ast.Del()):
            return node.attr in _TABLES
        case ast.Call(func=ast.Attribute(value=value, attr=attribute)) if attribute in _CHANGES:
            return _name(value) in _TABLES
        case ast.Call(func=function):
            return _name(function) in _CHANGERS
    return False


def _wanders(node: ast.AST) -> bool:
    """Recognise what has to do with where modules are looked for: `sys.path.append(...)`, `site.addsitedir(...)`."""
    match node:
        case ast.Attribute(value=ast.Name(id="sys"), attr="path") | ast.Attribute(attr="addsitedir"):
            return True
    return False


def _name(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
