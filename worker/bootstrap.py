"""`PYTHON -I -S .../worker/bootstrap.py MSGPACK FD FOLDER...`: the base zygote, run by an interpreter of others.

It is for plugins that have an environment of their own. The interpreter is the one below that environment, as it is
installed on the host: its version may be another one than the executor's, and it has none of our packages. They are
lent to it, each from its own folder, by a finder that goes when they hide (`worker.hiding`). MSGPACK is the folder that
holds our `msgpack`; its C code is for one version of Python, and where that is another one its Python code serves.

Nothing of an environment is imported here: it holds what its plugin has asked for, and this process has the rights of
the executor. With `-S` not even its `.pth` files are read.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

__all__ = ["Lender"]

USAGE: Final = "usage: PYTHON -I -S bootstrap.py MSGPACK FD FOLDER...    (`executor serve` starts this)"
OURS: Final = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


class Lender:
    """Finds a few packages, and nothing else.

    Args:
        folders: Where each of them is, by its name.
    """

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of them; what is in them is found by their own paths."""
        if path is not None or fullname not in self._folders:
            return None
        return PathFinder.find_spec(fullname, [self._folders[fullname]], target)


if __name__ == "__main__":
    if len(sys.argv) < 3 or not sys.argv[2].isdecimal():  # noqa: PLR2004 - the program and two arguments
        sys.exit(USAGE)
    sys.meta_path.insert(0, Lender({"msgpack": sys.argv[1], "protocol": OURS, "worker": OURS}))
    from worker.base_zygote import run_base_zygote

    run_base_zygote(int(sys.argv[2]), sys.argv[3:], lent=True)
