"""What the names of a Python source stand for, as far as reading it can tell.

Only one question is asked of a name: is it `dify_plugin.Endpoint`, a class derived from it, something else, or not to
be known? Statements are read in order, as Python would run them; what stands in branches is merged afterwards. What is
not understood is `UNKNOWN`, and so is a class that stands in one of several branches: the worker, which really imports
the source, decides. `modules` says what imports lead to.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, Protocol

from executor.catalog.python_source import SourceTooComplexError

__all__ = ["Importer", "Meaning", "Name", "Namespace", "is_class_like", "never_runs", "read_namespace"]

REFLECTION: Final = frozenset({"eval", "exec", "globals", "locals", "setattr", "vars"})
"""Built-in functions that can make names out of nothing."""


MAX_MERGED: Final = 200_000
"""Names that are looked at to merge branches; real sources need some hundreds."""


class Meaning(Enum):
    """What a name stands for."""

    BASE = auto()
    """`dify_plugin.Endpoint` itself."""
    DERIVED = auto()
    """A class derived from it."""
    OTHER = auto()
    """Certainly something else."""
    UNKNOWN = auto()
    """Not to be known without running the source."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a name stands for.

    Attributes:
        meaning: The answer to the one question.
        position: Line and column where it was bound, from 1.
        definition: The class definition, where it was bound by one in this file.
        direct: Whether that class has no base but `dify_plugin.Endpoint`, and no decorator.
        module: Dotted name of the module, where it stands for one.
    """

    meaning: Meaning
    position: tuple[int, int] = (1, 1)
    definition: ast.ClassDef | None = None
    direct: bool = False
    module: str = ""


@dataclass(slots=True)
class Namespace:
    """The names of a source when it has been run to its end.

    Attributes:
        names: By name.
        complete: Whether there can be no others: no star import from elsewhere, no `globals()`, no `exec`.
    """

    names: dict[str, Name] = field(default_factory=dict)
    complete: bool = True


class Importer(Protocol):
    """Knows what imports lead to."""

    def find(self, module: str, name: str) -> Name:
        """What `from module import name` binds."""

    def find_all(self, module: str) -> Namespace:
        """What `from module import *` binds."""

    def absolute(self, module: str, level: int) -> str:
        """The dotted name of a module from the plugin's folder, for an import with `level` leading dots."""


def read_namespace(tree: ast.Module, importer: Importer) -> Namespace:
    """Find what the names of a source stand for.

    Args:
        tree: The source, parsed.
        importer: Knows what its imports lead to.

    Raises:
        SourceTooComplexError: It has too many names in too many branches.
    """
    namespace = Namespace()
    try:
        _Reader(namespace, importer).read(tree.body)
    except RecursionError as error:
        raise SourceTooComplexError("it is nested too deeply") from error
    return namespace


def is_class_like(name: str) -> bool:
    """Tell whether people would give this name to a class, or to an endpoint."""
    return (name[:1].isupper() and not name.isupper()) or "endpoint" in name.lower()


class _Reader:
    """Reads statements into a namespace."""

    def __init__(self, namespace: Namespace, importer: Importer) -> None:
        self._namespace = namespace
        self._names = namespace.names
        self._importer = importer
        self._merged = 0

    def read(self, statements: Iterable[ast.stmt]) -> None:
        """Read statements in order."""
        for statement in statements:
            self._read_binding(statement)
            self._read_block(statement)

    def _read_binding(self, statement: ast.stmt) -> None:
        """Read a statement that binds names, or takes them away."""
        match statement:
            case ast.ClassDef():
                self._names[statement.name] = self._derive(statement)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._names[statement.name] = Name(Meaning.OTHER, _position(statement))
            case ast.Import():
                self._import(statement.names)
            case ast.ImportFrom():
                module = self._importer.absolute(statement.module or "", statement.level)
                self._import_from(module, statement.names)
            case ast.Assign():
                self._assign(statement.targets, statement.value)
            case ast.AnnAssign(value=ast.expr() as value):
                self._assign([statement.target], value)
            case ast.Delete():
                self._delete(statement.targets)
            case ast.Expr():
                self._notice_reflection(statement.value)

    def _read_block(self, statement: ast.stmt) -> None:
        """Read a statement that holds others."""
        match statement:
            case ast.With() | ast.AsyncWith():
                self.read(statement.body)
            case ast.If():
                self._branch([] if never_runs(statement.test) else statement.body, statement.orelse)
            case ast.For() | ast.While():
                self._branch(statement.body, [])
                self.read(statement.orelse)
            case ast.Match():
                self._branch(*(case.body for case in statement.cases), [])
            case ast.Try() | ast.TryStar():
                handlers = (handler.body for handler in statement.handlers)
                self._branch([*statement.body, *statement.orelse], *handlers)
                self.read(statement.finalbody)

    def _delete(self, targets: Iterable[ast.expr]) -> None:
        for target in targets:
            if isinstance(target, ast.Name):
                self._names.pop(target.id, None)

    def _derive(self, definition: ast.ClassDef) -> Name:
        """Find what a class definition makes."""
        bases = {self._evaluate(base).meaning for base in definition.bases}
        meaning = Meaning.UNKNOWN if Meaning.UNKNOWN in bases else Meaning.OTHER
        if bases & {Meaning.BASE, Meaning.DERIVED}:
            meaning = Meaning.DERIVED
        direct = bases == {Meaning.BASE} and not definition.decorator_list
        return Name(meaning, _position(definition), definition, direct)

    def _import(self, aliases: Sequence[ast.alias]) -> None:
        for alias in aliases:
            module = alias.name if alias.asname else alias.name.partition(".")[0]
            self._names[alias.asname or module] = Name(Meaning.OTHER, _position(alias), module=module)

    def _import_from(self, module: str, aliases: Sequence[ast.alias]) -> None:
        for alias in aliases:
            if alias.name == "*":
                star = self._importer.find_all(module)
                self._namespace.complete = self._namespace.complete and star.complete
                for name, found in star.names.items():
                    self._names[name] = replace(found, position=_position(alias), definition=None)
            else:
                found = self._importer.find(module, alias.name)
                self._names[alias.asname or alias.name] = replace(found, position=_position(alias), definition=None)

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        self._notice_reflection(value)
        meaning = self._evaluate(value)
        for target in targets:
            self._notice_reflection(target)
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    self._bind(name, meaning if name is target else Name(Meaning.UNKNOWN))

    def _bind(self, target: ast.Name, meaning: Name) -> None:
        """Bind a name; what nothing is known about counts as a class only where it is named like one."""
        if meaning.meaning is Meaning.UNKNOWN and not is_class_like(target.id):
            meaning = Name(Meaning.OTHER)
        self._names[target.id] = replace(meaning, position=_position(target))

    def _branch(self, *bodies: Sequence[ast.stmt]) -> None:
        """Read branches of which one is run, and merge what they bind."""
        self._merged += (len(self._names) + 1) * len(bodies)
        if self._merged > MAX_MERGED:
            raise SourceTooComplexError("it has too many branches")
        before = dict(self._names)
        results: list[dict[str, Name]] = []
        for body in bodies:
            self._names.clear()
            self._names.update(before)
            self.read(body)
            results.append(dict(self._names))
        self._names.clear()
        for name in {name: None for result in results for name in result}:
            self._names[name] = _merge([result.get(name) for result in results])

    def _evaluate(self, expression: ast.expr) -> Name:
        match expression:
            case ast.Name(id=name):
                missing = Name(Meaning.OTHER if hasattr(builtins, name) else Meaning.UNKNOWN)
                return self._names.get(name, missing)
            case ast.Attribute(value=value, attr=attribute):
                owner = self._evaluate(value)
                return self._importer.find(owner.module, attribute) if owner.module else Name(Meaning.UNKNOWN)
            case ast.Subscript(value=value):
                return self._evaluate(value)
            case ast.Call(func=function):
                called = self._evaluate(function)
                known = called.meaning is Meaning.OTHER and bool(called.module)
                return Name(Meaning.OTHER if known else Meaning.UNKNOWN)
            case ast.IfExp() | ast.BoolOp() | ast.NamedExpr() | ast.Starred() | ast.Await():
                return Name(Meaning.UNKNOWN)
        return Name(Meaning.OTHER)

    def _notice_reflection(self, expression: ast.expr) -> None:
        for node in ast.walk(expression):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFLECTION:
                self._namespace.complete = False


def _merge(found: Sequence[Name | None]) -> Name:
    """Merge what branches bind to one name; `None` for a branch that does not bind it."""
    bound = [name for name in found if name is not None]
    meanings = {name.meaning for name in bound}
    first = bound[0]
    sure = len(meanings) == 1 and (len(bound) == len(found) or first.meaning is not Meaning.DERIVED)
    return first if sure else replace(first, meaning=Meaning.UNKNOWN)


def never_runs(test: ast.expr) -> bool:
    """Recognise `if TYPE_CHECKING` and `if __name__ == "__main__"`."""
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]):
            return True
    return False


def _position(node: ast.stmt | ast.expr | ast.alias) -> tuple[int, int]:
    return (node.lineno, node.col_offset + 1)
