"""What commands do with functions: list them, find one by its name, remove them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from executor.installed.errors import InstalledError
from executor.installed.versions import expect_one_plugin, parse_name
from executor.packages.folders import PackageFolders
from executor.serverless.functions import FOLDER, FUNCTIONS, PLUGINS, Function, FunctionShelf

__all__ = ["FunctionDesk", "ListedFunction", "find_functions"]


@dataclass(frozen=True, slots=True)
class ListedFunction:
    """A function in a list.

    Attributes:
        function: As it was launched.
        used_at: When it was launched or called last, in Unix seconds, to the minute.
    """

    function: Function
    used_at: float


@final
class FunctionDesk:
    """The functions of a state folder.

    Args:
        state_dir: The state folder; it need not exist.
    """

    def __init__(self, state_dir: Path) -> None:
        self._shelf = FunctionShelf(state_dir / FOLDER / FUNCTIONS)
        self._folders = PackageFolders(state_dir / FOLDER / PLUGINS)

    def list(self) -> tuple[ListedFunction, ...]:
        """List all functions, in the order of their names."""
        return tuple(ListedFunction(one, self._shelf.last_use(one)) for one in self._shelf.read())

    def remove(self, function: Function) -> None:
        """Forget a function; a service that runs has to be told. Its files stay until they are swept.

        Raises:
            OSError: It cannot be removed.
        """
        self._shelf.remove(function)

    def sweep(self) -> None:
        """Remove the files of all functions that are gone. A running service does it by itself: others must not.

        Raises:
            OSError: They cannot be removed.
        """
        self._folders.sweep(lambda: [self._folder(one) for one in self._shelf.read()])

    def _folder(self, function: Function) -> Path:
        return self._folders.path(
            author=function.author, name=function.plugin, version=function.version, checksum=function.checksum
        )


def find_functions(text: str, functions: Sequence[Function]) -> tuple[Function, ...]:
    """Find all functions that may be meant, of one plugin.

    Args:
        text: The name of a function, or what an installed plugin may be called: `cat`, `tester/cat:0.0.1`.
        functions: All of them.

    Raises:
        InstalledError: There is none, or it is not clear which plugin is meant.
    """
    named = tuple(one for one in functions if one.name == text)
    if named:
        return named
    name = parse_name(text)
    found = tuple(
        one
        for one in functions
        if name.fits(author=one.author, name=one.plugin, version=one.version, checksum=one.checksum)
    )
    if not found:
        known = ", ".join(one.identifier for one in functions)
        hint = f"there are: {known}" if known else "there is none; a Dify daemon launches them"
        raise InstalledError(f"no function is called {text}; {hint}")
    expect_one_plugin(text, (f"{one.author}/{one.plugin}" for one in found))
    return found
