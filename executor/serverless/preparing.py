"""From a package, or a folder, to a plugin whose workers can be started: what is done in threads.

All of this is what `executor plugin install` does as well: the package is read, checked and unpacked by
`executor.packages`, the environment is built by `executor.environments`, in its sandbox.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import final

from executor.catalog.plugin import Plugin, load_plugin
from executor.config.model import Config
from executor.environments.builder import EnvironmentBuilder
from executor.environments.choice import wants_own
from executor.environments.provide import equip
from executor.packages.folders import PackageFolders, find_checksum
from executor.packages.signature import load_public_key
from executor.serverless.errors import FunctionError, LaunchError
from executor.serverless.form import LaunchForm
from executor.serverless.functions import PLUGINS, Function

__all__ = ["Preparing"]


@final
class Preparing:
    """Makes plugins ready.

    Args:
        config: How packages are checked.
        folder: STATE_DIR/serverless.
        builder: Builds environments. Borrowed.
    """

    def __init__(self, config: Config, folder: Path, builder: EnvironmentBuilder) -> None:
        self._config = config
        self._builder = builder
        self._lock = threading.Lock()
        self._folders = PackageFolders(
            folder / PLUGINS,
            limits=config.packages.limits,
            keys=[load_public_key(file) for file in config.packages.public_keys],
            require_signature=config.packages.require_signature,
        )

    def unpack(self, form: LaunchForm, function: Function) -> Function:
        """Unpack the package of a launch.

        Args:
            form: The package, and what the daemon calls it.
            function: What the form's file name says.

        Returns:
            The function, as its files say: the same.

        Raises:
            PackageError: The package is refused.
            LaunchError: It is another one than the daemon says.
            OSError: It could not be unpacked.
        """
        with self._lock:
            unpacked = self._folders.add(form.package)
        plugin = unpacked.plugin
        real = replace(
            function,
            author=plugin.author,
            plugin=plugin.name,
            version=plugin.version,
            checksum=unpacked.checksum,
        )
        if real != function or form.identifier not in {"", unpacked.identifier}:
            raise LaunchError(f"the package is {unpacked.identifier}, and the daemon calls it {form.filename}")
        return real

    def folder(self, function: Function) -> Path:
        """Tell where the files of a function are."""
        return self._folders.path(
            author=function.author, name=function.plugin, version=function.version, checksum=function.checksum
        )

    def sweep(self, kept: Callable[[], Collection[Function]], live: Collection[str]) -> tuple[Path, ...]:
        """Remove the files of all other functions.

        Args:
            kept: Lists the functions whose files stay; called when nothing can be unpacked.
            live: Folders that are in use.

        Returns:
            The folders that were removed.

        Raises:
            OSError: One cannot be removed.
        """
        with self._lock:
            return self._folders.sweep(lambda: [*map(Path, live), *map(self.folder, kept())])

    def load(self, function: Function, progress: Callable[[str], None]) -> Plugin:
        """Read the plugin of a function, and have its environment.

        Raises:
            FunctionError: Its files are not what was launched.
            BuildError: There is no environment for it.
        """
        folder = self.folder(function)
        if not folder.is_dir() or find_checksum(folder, self._config.packages.limits) != function.checksum:
            raise FunctionError(f"the files of {function.identifier} are gone or changed; install it again in Dify")
        plugin = load_plugin(folder).plugin
        if plugin is None:
            raise FunctionError(f"{function.identifier} cannot be served by this version of the executor")
        settings = self._config.environments
        own = wants_own(plugin.root, None, settings.default)
        return equip(plugin, self._builder.build(plugin.root, plugin.digest, progress) if own else None, settings)
