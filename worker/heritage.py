"""What a zygote has from the one that it was forked from, and what it adds: its view, and its imports."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from protocol import ForkZygote
from worker.backing import back_heap, back_libraries
from worker.delivery import blame
from worker.environment import EnvironmentUnfitError, Runtime, enter_environment, import_trusted, load_runtime
from worker.forking import remember_generators
from worker.greenlets import end_event_loop
from worker.immortal import share_memory
from worker.loader import SDK, STAGE, STAND_IN, provide_sdk, sdk_version
from worker.lockdown.calls import CLONE_NEWNET, CLONE_NEWNS, unshare
from worker.lockdown.evidence import Origin
from worker.lockdown.seccomp import Program
from worker.preloading import preload
from worker.rehearsal import rehearse
from worker.versions import installed_version
from worker.view import build_view

__all__ = ["Heritage", "add_imports", "enter_view", "import_all", "keep_memory", "prepare_forks"]

MUCH: Final = 50
"""Modules that a plugin has imported, from which on its zygote moves what they are made of into files."""


@dataclass(frozen=True, slots=True)
class Heritage:
    """What everything that is forked from the base zygote is born with.

    Attributes:
        report: What ZYGOTE_READY says.
        origin: What the host looked like from here.
        program: The filter of system calls for workers.
        trees: Folders that the interpreter imports from.
        runtime: What needs `werkzeug`, as soon as it is there.
        environment: What this process, or the one that it was forked from, has imported from; empty for none.
        imported: How many modules it has imported for the sources of its plugin.
    """

    report: dict[str, object]
    origin: Origin
    program: Program
    trees: tuple[str, ...]
    runtime: Runtime | None
    environment: str = ""
    imported: int = 0


def enter_view(heritage: Heritage, command: ForkZygote, *, copy_private: bool, lent_fd: int) -> int:
    """See nothing but the view from now on; a descriptor of the folder for byte code.

    Args:
        heritage: Of the zygote that this one was forked from.
        command: What this one is for.
        copy_private: As for `build_view`.
        lent_fd: As for `build_view`.

    Raises:
        BirthError: The kernel refused.
        ViewError: The view could not be built.
    """
    environment = (command.environment,) if command.environment else ()
    trees = (*heritage.trees, *command.sys_path, *environment, *command.trees, STAND_IN, STAGE)
    with blame("mount_namespace"):
        unshare(CLONE_NEWNS)
        return build_view(trees, command.plugin_root, copy_private=copy_private, lent_fd=lent_fd)


def import_all(heritage: Heritage, command: ForkZygote) -> Heritage:
    """Import what all workers have in common, in a zygote that comes from a base zygote.

    What is in its environment was chosen by the plugin: it is imported without a network. Nothing of it is run with the
    rights of the executor, which were given up before.

    Raises:
        EnvironmentUnfitError: Something required cannot be imported.
        BirthError: The kernel refused.
    """
    if bool(command.environment) != (heritage.runtime is None):
        raise EnvironmentUnfitError(f"this interpreter is not for the environment {command.environment or 'of ours'}")
    if command.environment or command.imports:
        _leave_network(command.off)
    if command.environment:
        enter_environment(command.environment)
    sys.path[:0] = command.sys_path
    provide_sdk()
    with remember_generators():
        import_trusted(command.preload, command.environment)
        preloaded = preload(command.imports, command.plugin_root)
    runtime = heritage.runtime or load_runtime()
    if not command.environment and not preloaded.unfit and SDK in sys.modules:
        rehearse(runtime)
    end_event_loop()
    werkzeug = sys.modules["werkzeug"]
    facts = {
        "name": command.name,
        "preload": list(command.preload),
        "sdk": sdk_version(),
        "werkzeug": installed_version("werkzeug", werkzeug.__file__ or ""),
    }
    report = heritage.report | facts | preloaded.report()
    return replace(
        heritage, report=report, runtime=runtime, environment=command.environment, imported=preloaded.modules
    )


def add_imports(heritage: Heritage, command: ForkZygote) -> Heritage:
    """Have what the zygote of the environment has imported, and import what the plugin needs besides.

    Raises:
        BirthError: The kernel refused.
    """
    _leave_network(command.off)
    with remember_generators():
        preloaded = preload(command.imports, command.plugin_root)
    report = heritage.report | {"name": command.name} | preloaded.report()
    return replace(heritage, report=report, imported=preloaded.modules)


def keep_memory(heritage: Heritage, *, prepared: bool) -> None:
    """Get the zygote of a plugin ready for being forked from.

    Memory is moved into files, unless the zygote of the environment has done that, or somebody waits for a provisional
    one. What a plugin imports besides is worth it where that is much: 0.3 s, for a sixth of each worker's price.

    Args:
        heritage: What it has.
        prepared: Whether the zygote of its environment was prepared before it forked this one.
    """
    share_memory()
    much = heritage.imported >= MUCH
    if much and (prepared or not heritage.environment):
        back_libraries(text=False)
    if not heritage.environment or (much and prepared):
        back_heap()


def prepare_forks(runtime: Runtime) -> None:
    """Get the zygote of an environment ready, as that of a plugin without one was before it took commands.

    Args:
        runtime: What it has imported.
    """
    gc.unfreeze()
    if SDK in sys.modules:
        rehearse(runtime)
    share_memory()
    back_libraries(text=False)  # of the environment; those of the interpreter are moved already
    back_heap()


def _leave_network(off: Sequence[str]) -> None:
    """See no network but a loopback that is down, with nobody else in it."""
    if "network_namespace" not in off:
        with blame("network_namespace"):
            unshare(CLONE_NEWNET)
