"""What commands do with plugins: install and remove versions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.catalog.plugin import Plugin
from executor.installed.errors import InstalledError
from executor.packages.errors import PackageError, SignatureError
from executor.packages.folders import PackageFolders, Unpacked
from executor.packages.limits import PackageLimits
from executor.packages.pack import pack_folder
from executor.store.errors import AlreadyStoredError
from executor.store.records import InstalledPlugin
from executor.store.store import Store

__all__ = ["Installation", "PluginDesk", "read_package"]

UNSIGNED_FOLDER: Final = "a folder, which has no signature"


@dataclass(frozen=True, slots=True)
class Installation:
    """What came of installing a package.

    Attributes:
        version: As the store has it.
        unpacked: What is in its folder.
        fresh: Whether it was not installed before.
    """

    version: InstalledPlugin
    unpacked: Unpacked
    fresh: bool


class PluginDesk:
    """Installs and removes versions.

    Args:
        store: Borrowed.
        folders: Where versions are unpacked.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, folders: PackageFolders, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._folders = folders
        self._clock = clock

    def install(self, package: bytes) -> Installation:
        """Unpack a package, and keep that it is installed. No hook is changed by it.

        Raises:
            PackageError: The package is refused.
            StoreError: The store could not be used.
            OSError: The package could not be unpacked.
        """
        fresh: list[bool] = []

        def keep(unpacked: Unpacked) -> None:
            try:
                self._store.plugins.add(_describe(unpacked, self._clock()))
            except AlreadyStoredError:
                fresh.append(False)
            else:
                fresh.append(True)

        unpacked = self._folders.add(package, keep)
        version = self._store.plugins.get(unpacked.identifier)
        if version is None:
            raise InstalledError(f"{unpacked.identifier} has been removed while it was installed")
        return Installation(version, unpacked, fresh=fresh[0])

    def remove(self, version: InstalledPlugin) -> None:
        """Forget a version. Its folder stays until `sweep`, for requests may still be served from it.

        Raises:
            InUseError: A hook is served by it.
            NotStoredError: It is not installed.
        """
        self._store.plugins.remove(version.identifier)

    def sweep(self, used: Collection[str]) -> None:
        """Remove the files of versions that are not installed.

        Args:
            used: Folders that running services still serve requests from.

        Raises:
            OSError: They cannot be removed.
        """
        self._folders.sweep(lambda: [*map(Path, used), *(self.folder_of(one) for one in self._store.plugins.list())])

    def folder_of(self, version: InstalledPlugin) -> Path:
        """Tell where the files of a version are on this machine."""
        return self._folders.path(
            author=version.author, name=version.name, version=version.version, checksum=version.checksum
        )


def read_package(source: Path, limits: PackageLimits, *, require_signature: bool = False) -> bytes:
    """Read a package, or pack a folder.

    Raises:
        PackageError: It is too large, or the folder cannot be packed.
        InstalledError: There is neither a file nor a folder.
    """
    try:
        if source.is_dir():
            if require_signature:
                raise SignatureError("", found=UNSIGNED_FOLDER, expected="a signed package")
            return pack_folder(source, limits=limits).data
        with source.open("rb") as file:
            data = file.read(limits.package_bytes + 1)
    except FileNotFoundError as error:
        message = f"{source} is not there; expected a .difypkg file, or a plugin's folder"
        raise InstalledError(message) from error
    except OSError as error:
        raise InstalledError(f"{source}: the package cannot be read: {error.strerror}") from error
    if len(data) > limits.package_bytes:
        raise PackageError("", found="a larger file", expected=f"at most {limits.package_bytes} bytes")
    return data


def _describe(unpacked: Unpacked, now: float) -> InstalledPlugin:
    plugin: Plugin = unpacked.plugin
    return InstalledPlugin(
        identifier=unpacked.identifier,
        author=plugin.author,
        name=plugin.name,
        version=plugin.version,
        checksum=unpacked.checksum,
        digest=plugin.digest,
        folder=str(plugin.root),
        declaration={
            "label": str(plugin.label),
            "endpoints": len(plugin.endpoints),
            "settings": [setting.name for setting in plugin.settings],
        },
        verified=unpacked.key is not None,
        signed_by=None if unpacked.key is None else str(unpacked.key.file)[:256],
        installed_at=now,
    )
