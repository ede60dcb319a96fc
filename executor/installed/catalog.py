"""Installed versions as plugins that can be served, each read from its folder once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from executor.catalog.plugin import Plugin, load_plugin
from executor.config.model import Config
from executor.installed.errors import BrokenVersionError
from executor.packages.folders import PackageFolders, find_checksum
from executor.packages.signature import load_public_key
from executor.store.records import InstalledPlugin

__all__ = ["PLUGINS", "InstalledCatalog", "package_folders"]

PLUGINS: Final = "plugins"
"""Folder of installed versions in the state folder."""


def package_folders(config: Config) -> PackageFolders:
    """Find the folders of installed versions, with what the configuration says about packages.

    Raises:
        KeyFileError: A public key cannot be used.
    """
    packages = config.packages
    return PackageFolders(
        config.state_dir / PLUGINS,
        limits=packages.limits,
        keys=[load_public_key(file) for file in packages.public_keys],
        require_signature=packages.require_signature,
    )


class InstalledCatalog:
    """Reads installed versions. A folder whose checksum is right is read once, for it never changes.

    Args:
        state_dir: The state folder.
    """

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / PLUGINS
        self._read: dict[str, Plugin] = {}

    def load(self, version: InstalledPlugin) -> Plugin:
        """Read a version.

        Raises:
            BrokenVersionError: Its files are not on this machine, or not those that were installed.
        """
        known = self._read.get(version.identifier)
        if known is not None and known.root.is_dir():
            return known
        plugin = self._load(version)
        self._read[version.identifier] = plugin
        return plugin

    def _load(self, version: InstalledPlugin) -> Plugin:
        folder = PackageFolders(self._root).path(
            author=version.author, name=version.name, version=version.version, checksum=version.checksum
        )
        advice = "install its package again with `executor plugin install`"
        if not folder.is_dir():
            raise BrokenVersionError(f"{version.identifier}: its files are not on this machine, in {folder}; {advice}")
        if find_checksum(folder) != version.checksum:
            raise BrokenVersionError(f"{version.identifier}: its files in {folder} have been changed; {advice}")
        loaded = load_plugin(folder)
        if loaded.plugin is None:
            errors = "; ".join(str(finding) for finding in loaded.findings if finding.severity == "error")
            raise BrokenVersionError(f"{version.identifier}: this version of the executor cannot serve it: {errors}")
        return loaded.plugin
