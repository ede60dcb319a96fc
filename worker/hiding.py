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

This is no defence: a plugin can still find our objects in memory. It only keeps names free.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HIDDEN_NAMES", "INSTALLATION", "hide_ourselves"]

HIDDEN_NAMES: Final = frozenset({"executor", "protocol", "worker"})
"""Our top-level packages."""

INSTALLATION: Final = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that holds our packages: a source tree, or `site-packages`."""

_hidden: Final[list[ModuleType]] = []


class _PathFinder(PathFinder):
    """The usual path finder, blind to our packages."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None and fullname in HIDDEN_NAMES:
            path = [entry for entry in sys.path if os.path.realpath(entry) != INSTALLATION]
        return super().find_spec(fullname, path, target)


def hide_ourselves() -> None:
    """Take our packages out of reach of `import`. Call it once, after everything of ours has been imported."""
    if INSTALLATION not in _shared_folders():
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != INSTALLATION]
    sys.meta_path[:] = [
        _PathFinder if finder is PathFinder else finder for finder in sys.meta_path if not _serves_only_us(finder)
    ]
    for name in [name for name in sys.modules if name.partition(".")[0] in HIDDEN_NAMES]:
        _hidden.append(sys.modules.pop(name))
    _hidden.append(sys.modules["__main__"])
    sys.modules["__main__"] = ModuleType("__main__")


def _shared_folders() -> set[str]:
    """Folders of the import path that hold other people's packages as well."""
    paths = sysconfig.get_paths()
    folders = [paths["purelib"], paths["platlib"], site.getusersitepackages(), *site.getsitepackages()]
    return {os.path.realpath(folder) for folder in folders}


def _serves_only_us(finder: object) -> bool:
    """Whether this is the import hook of an editable installation of ours, as some build back ends make them."""
    find_spec = getattr(finder, "find_spec", None)
    if find_spec is None or getattr(finder, "__module__", "").startswith(("_frozen_importlib", "importlib")):
        return False
    spec = find_spec("worker", None, None)
    return spec is not None and os.path.realpath(spec.origin or "").startswith(INSTALLATION + os.sep)
