"""Checking the sources of endpoints without running them.

Only what is certain is reported. Whether a class really can be imported and used shows when a worker loads it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.files import FileError, PluginFiles
from executor.catalog.findings import Code, Findings
from executor.catalog.modules import Modules
from executor.catalog.namespace import Meaning, Name, Namespace
from executor.catalog.python_source import SourceSyntaxError, SourceTooComplexError

__all__ = ["OUR_PYTHON", "SourceCheck"]

EXPECTED: Final = "exactly one subclass of dify_plugin.Endpoint"

NEWER_PYTHON: Final = "Dify runs plugins with Python 3.12" if sys.version_info < (3, 12) else ""
"""What may be behind a mistake in a plugin that works in Dify."""

OUR_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version that checks sources: the executor's own."""

MAX_LISTED: Final = 8
"""Classes that are listed when there are several."""


class SourceCheck:
    """Checks the sources of one plugin, each once.

    Args:
        files: The plugin.
        findings: Where everything that is wrong is added.
        python: Version of Python that the plugin is run with, such as `3.12`. What is no Python for ours may be for
            another one: then it is left unchecked.
    """

    def __init__(self, files: PluginFiles, findings: Findings, python: str = OUR_PYTHON) -> None:
        self._files = files
        self._python = python
        self._findings = findings
        self._modules = Modules(files)
        self._checked: set[str] = set()

    def check(self, path: str, named: Cursor) -> None:
        """Check one source.

        Args:
            path: Relative to the plugin's folder; it exists.
            named: Where it is named.
        """
        if path in self._checked:
            return
        self._checked.add(path)
        if not path.endswith(".py"):
            named.add(Code.SOURCE_SUFFIX, expected="a file that ends in .py")
            return
        try:
            namespace = self._modules.read(path, self._files.read(path))
        except FileError as error:
            code = Code.SOURCE_UNCHECKED if error.code is Code.FILE_TOO_LARGE else error.code
            named.add(code, found=error.found, expected=error.expected)
        except SourceTooComplexError as error:
            self._add(Code.SOURCE_UNCHECKED, path, None, found=str(error), expected="a source that is quick to check")
        except SourceSyntaxError as error:
            found = f"an error ({error})"
            if self._python == OUR_PYTHON:
                expected = f"valid Python {OUR_PYTHON}"
                self._add(Code.SOURCE_SYNTAX, path, error.position, found=found, expected=expected, hint=NEWER_PYTHON)
            else:
                expected = f"a source that Python {OUR_PYTHON}, which checks it, understands"
                hint = f"the plugin is run with Python {self._python}"
                self._add(Code.SOURCE_UNCHECKED, path, error.position, found=found, expected=expected, hint=hint)
        else:
            self._check_classes(path, namespace)

    def _check_classes(self, path: str, namespace: Namespace) -> None:
        meanings = {name.meaning for name in namespace.names.values()}
        classes = [(name, found) for name, found in namespace.names.items() if found.meaning is Meaning.DERIVED]
        if not classes and Meaning.UNKNOWN not in meanings and namespace.complete:
            self._add(Code.SOURCE_NO_CLASS, path, (1, 1), found="none", expected=EXPECTED)
        elif len(classes) > 1:
            classes.sort(key=lambda item: item[1].position)
            found = ", ".join(f"{name} on line {found.position[0]}" for name, found in classes[:MAX_LISTED])
            found += "" if len(classes) <= MAX_LISTED else f" and {len(classes) - MAX_LISTED} more"
            hint = "imported classes and other names of the same class count"
            self._add(
                Code.SOURCE_SEVERAL_CLASSES, path, classes[1][1].position, found=found, expected=EXPECTED, hint=hint
            )
        elif classes:
            self._check_invoke(path, *classes[0])

    def _check_invoke(self, path: str, name: str, found: Name) -> None:
        """Check that the class has an `_invoke` that can be called; only what stands in the class itself."""
        definition = found.definition
        if definition is None:
            return
        methods = [item for item in definition.body if getattr(item, "name", "") == "_invoke"]
        if found.direct and not _mentions_invoke(definition):
            expected = f"the class {name} to define _invoke(self, r, values, settings)"
            self._add(Code.SOURCE_NO_INVOKE, path, found.position, found="none", expected=expected)
        for method in methods[-1:]:
            if isinstance(method, ast.AsyncFunctionDef) or _yields(method):
                kind = "coroutine" if isinstance(method, ast.AsyncFunctionDef) else "generator"
                self._add(
                    Code.SOURCE_ASYNC_INVOKE,
                    path,
                    (method.lineno, method.col_offset + 1),
                    found=f"a {kind} function",
                    expected=f"{name}._invoke to return a Response",
                    hint="a Response may have a generator as its body",
                )

    def _add(
        self,
        code: Code,
        path: str,
        position: tuple[int, int] | None,
        *,
        found: str,
        expected: str,
        hint: str = "",
    ) -> None:
        self._findings.add(code, Path(path), position, what="", found=found, expected=expected, hint=hint)


def _mentions_invoke(definition: ast.ClassDef) -> bool:
    """Tell whether anything in a class is called `_invoke`: a function, a variable, an import."""
    return any(
        "_invoke" in {getattr(node, key, "") for key in ("name", "asname", "id")} for node in ast.walk(definition)
    )


def _yields(function: ast.stmt) -> bool:
    """Tell whether a function is a generator function."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _walk_own(function))


def _walk_own(function: ast.stmt) -> Iterator[ast.AST]:
    """Go through a function without the functions and classes inside of it."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, inner):
            waiting.extend(ast.iter_child_nodes(node))
