"""Makes our own packages disappear, so that a plugin may have modules of the same names.

Theory of operation
-------------------
A plugin may have a `worker.py`, a `protocol/` or an `executor.py`; its own must be found, and without one `import
worker` must fail as it does anywhere else. Three things would get in the way, and are removed once per zygote, before
anything is forked:

1. Loaded modules: our entries in `sys.modules` go. The code keeps running, because functions hold their globals; but
   nothing of ours can be imported from then on, so every module of ours imports all it needs at its top.
2. The import path: an editable installation puts the whole source tree on `sys.path`. That entry goes.
3. `site-packages`: an ordinary installation puts our packages beside werkzeug and msgpack, which must stay
   importable. There the path finder is told to skip that folder for our names, and only for these.

Where a plugin has its own environment, our packages were lent (`worker.bootstrap`), and `msgpack` with them, which goes
in the same way: the environment may have it in another version. What of ours needs the environment's modules is
imported after that, while ours are back for a moment.

This is no defence: a plugin can still find our objects in memory. It only keeps names free.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["HIDDEN_NAMES", "INSTALLATION", "hide_ourselves", "reveal_ourselves"]

HIDDEN_NAMES: Final = frozenset({"executor", "protocol", "worker"})
"""Our top-level packages."""

INSTALLATION: Final = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that holds our packages: a source tree, or `site-packages`."""

LENT_NAMES: Final = HIDDEN_NAMES | {"msgpack"}
"""The top-level packages that another interpreter is lent."""

_hidden: Final[dict[str, ModuleType]] = {}
_finders: Final[list[Any]] = []
"""Import hooks that find nothing but ours."""


class _PathFinder(PathFinder):
    """The usual path finder, blind to our packages."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None and fullname in HIDDEN_NAMES:
            path = [entry for entry in sys.path if os.path.realpath(entry) != INSTALLATION]
        return super().find_spec(fullname, path, target)


def hide_ourselves(*, lent: bool = False) -> None:
    """Take our packages out of reach of `import`. Call it once, after everything of ours has been imported.

    Args:
        lent: Whether the interpreter has them by way of `worker.bootstrap`, and msgpack with them.
    """
    if any(os.path.realpath(entry) == INSTALLATION for entry in sys.path) and INSTALLATION not in _shared_folders():
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != INSTALLATION]
    _finders[:] = [finder for finder in sys.meta_path if _serves_only_us(finder)]
    sys.meta_path[:] = [
        _PathFinder if finder is PathFinder else finder for finder in sys.meta_path if finder not in _finders
    ]
    _hidden.update(_take_modules(LENT_NAMES if lent else HIDDEN_NAMES))
    _hidden["__main__"] = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")


@contextmanager
def reveal_ourselves() -> Iterator[None]:
    """Have our packages be found for a moment, after they were hidden; others of the same names are not, meanwhile."""
    if not _hidden:
        yield
        return
    names = frozenset(name.partition(".")[0] for name in _hidden if name != "__main__")
    others = _take_modules(names)
    sys.modules.update((name, module) for name, module in _hidden.items() if name != "__main__")
    sys.meta_path[:0] = _finders
    try:
        yield
    finally:
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in _finders]
        _hidden.update(_take_modules(names))
        sys.modules.update(others)


def _take_modules(names: frozenset[str]) -> dict[str, ModuleType]:
    """Take some top-level packages, with all that is in them, from the loaded modules."""
    taken = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in taken}


def _shared_folders() -> set[str]:
    """Folders of the import path that hold other people's packages as well."""
    site, sysconfig = importlib.import_module("site"), importlib.import_module("sysconfig")  # they note the prefix
    paths = sysconfig.get_paths()
    folders = [paths["purelib"], paths["platlib"], site.getusersitepackages(), *site.getsitepackages()]
    return {os.path.realpath(folder) for folder in folders}


def _serves_only_us(finder: object) -> bool:
    """Whether this is the import hook of an editable installation of ours, as some build back ends make them."""
    find_spec = getattr(finder, "find_spec", None)
    if find_spec is None or getattr(finder, "__module__", "").startswith(("_frozen_importlib", "importlib")):
        return False
    if getattr(finder, "__module__", "").partition(".")[0] == __name__.partition(".")[0]:
        return True
    spec = find_spec("worker", None, None)
    return spec is not None and os.path.realpath(spec.origin or "").startswith(INSTALLATION + os.sep)
