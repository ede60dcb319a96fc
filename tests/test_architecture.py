"""Who may import whom, and that every module says what it exports."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocol", "worker", "executor")
ALLOWED = {
    "protocol": {"protocol", "msgpack"},
    "worker": {"worker", "protocol", "msgpack", "werkzeug"},
}
"""What a package may import besides the standard library; `worker/sdk` is a `dify_plugin` and uses that name."""
FORBIDDEN = {"protocol": {"worker", "executor"}, "worker": {"executor"}, "executor": {"worker"}}
HEAVY = {
    "alembic",
    "asyncio",
    "executor.service",
    "httpx",
    "prometheus_client",
    "psutil",
    "sqlalchemy",
    "uvicorn",
    "watchfiles",
}
"""What takes long to import, and serves those only who serve, build or open the store."""

STAND_IN = ROOT / "worker" / "sdk"
STAGE = ROOT / "worker" / "stage"
"""A plugin, which imports what plugins do."""


def modules(package: str) -> list[Path]:
    """The source files of a package."""
    return sorted(path for path in (ROOT / package).rglob("*.py") if not path.is_relative_to(STAGE))


def imported_names(tree: ast.AST) -> set[str]:
    """The top-level names that a module imports anywhere, relative ones left out."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def module_name(path: Path) -> str:
    """The name by which a source file of ours is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package: str) -> None:
    """By reading every file, imports within functions included."""
    for path in modules(package):
        names = imported_names(ast.parse(path.read_text()))
        assert not names & FORBIDDEN[package], path
        if package in ALLOWED:
            allowed = ALLOWED[package] | ({"dify_plugin"} if path.is_relative_to(STAND_IN) else set())
            assert names - set(sys.stdlib_module_names) <= allowed, path


def test_the_protocol_loads_nothing_but_msgpack() -> None:
    """In a clean interpreter, so that what is loaded indirectly counts too, and no I/O module is among it."""
    script = (
        "import sys; before = set(sys.modules); import protocol; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded = {name for name in output.split() if "cython" not in name}  # what msgpack is compiled with
    assert {"protocol", "msgpack"} <= loaded
    assert loaded - {"protocol", "msgpack"} <= set(sys.stdlib_module_names)
    assert not loaded & {"socket", "asyncio", "threading", "subprocess", "selectors", "logging", "pickle"}


@pytest.mark.parametrize(
    ("script", "heavy"),
    [
        ("from executor.cli.main import create_app; create_app()", {"executor.config.model", "pydantic", "rich"}),
        ("import executor.cli.ps, executor.cli.stats", {"executor.config.model", "werkzeug", "yaml"}),
        ("from executor.cli.commands import ABOUT, load_command; [*map(load_command, ABOUT)]", set()),
    ],
    ids=["program", "figures", "all"],
)
def test_commands_start_light(script: str, heavy: set[str]) -> None:
    """The program loads no command before it is used, and commands nothing that only some of their uses need."""
    command = [sys.executable, "-c", f"import sys; {script}; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert "typer" in loaded
    assert not (HEAVY | heavy) & set(loaded)


def defined_names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The names that a module defines without an underscore: classes and functions; constants and aliases."""
    callables: set[str] = set()
    values: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            callables.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            values.add(node.target.id)
        elif isinstance(node, ast.Assign):
            values |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in callables if name[0] != "_"}, {name for name in values if name[0] != "_"}


def exported_names(tree: ast.Module) -> list[str] | None:
    """What a module names in `__all__`; None if it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def reexported_names(tree: ast.Module, package: str) -> set[str]:
    """The names that a module imports from its own package, and so may pass on."""
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == package)
        for alias in node.names
    }


def imports_from(path: Path) -> set[tuple[str, str]]:
    """The (module, name) pairs that a file imports by name."""
    return {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


SOURCES = [path for package in PACKAGES for path in modules(package) if not path.is_relative_to(STAND_IN)]
USED = set().union(*map(imports_from, SOURCES))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_export_what_is_public(path: Path) -> None:
    """`__all__` is what a module defines publicly, and names that it passes on from its own package.

    Classes and functions are public unless they begin with an underscore. So is every constant of `protocol`, whose
    constants are its specification; elsewhere a constant is public once another module imports it.
    """
    tree = ast.parse(path.read_text())
    exported = exported_names(tree)
    callables, values = defined_names(tree)
    package = path.relative_to(ROOT).parts[0]
    used = {name for module, name in USED if module == module_name(path)}
    public = callables | values if package == "protocol" else callables | (values & used)
    if exported is None:
        assert not public, "no __all__"
        return
    assert len(set(exported)) == len(exported)
    assert not public - set(exported), "public, but not exported"
    passed_on = set(exported) - callables - values
    assert passed_on <= reexported_names(tree, package), "exported, but not defined"


def test_the_protocol_package_passes_on_what_its_modules_export() -> None:
    """Each name of `protocol` is the same object as that of the module that defines it."""
    package = importlib.import_module("protocol")
    for name in package.__all__:
        assert any(
            name in set().union(*defined_names(ast.parse(path.read_text())))
            and getattr(importlib.import_module(module_name(path)), name) is getattr(package, name)
            for path in modules("protocol")
        ), name


REPLACED = {
    "os": {"close", "fork", "forkpty", "posix_spawn", "posix_spawnp", "waitpid"},
    "select": {"epoll", "poll", "select"},
    "signal": {"getsignal", "signal"},
    "socket": {"create_connection", "fromfd", "socket", "socketpair"},
    "threading": {"Condition", "Event", "Lock", "RLock", "Thread", "current_thread", "local"},
    "time": {"sleep"},
}
"""What gevent puts others in the place of, by module."""

BEFORE_GEVENT = {"workshop", "sdk", "stage"}
"""Folders of `worker` whose code runs in other processes, or is the plugin's."""


GREENLETS = [path for path in modules("worker") if not BEFORE_GEVENT & set(path.relative_to(ROOT / "worker").parts)]


@pytest.mark.parametrize("path", GREENLETS, ids=lambda path: str(path.relative_to(ROOT)))
def test_workers_use_the_originals_of_what_gevent_replaces(path: Path) -> None:
    """By name, from modules that are imported before the SDK; gevent's own want an event loop that nobody has."""
    found = {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not {(module, name) for module, name in found if name in REPLACED.get(module, set())}
