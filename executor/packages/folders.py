"""The folders of installed plugins: `AUTHOR/NAME/VERSION@CHECKSUM` below one folder.

A version is there as a whole or not at all. It is unpacked into a folder with a random name beside the others, flushed
to the disk, and renamed. What an installation that was killed has left, the next one removes. The checksum in the name
tells later whether somebody has changed the files since.

Everything that changes these folders holds a lock, so that several commands may run at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from executor.catalog.findings import Finding
from executor.catalog.manifest import MANIFEST
from executor.catalog.plugin import Plugin, load_plugin
from executor.durable import sync_folder
from executor.errors import number_of
from executor.packages.archive import Archive
from executor.packages.checksum import compute_checksum, format_identifier
from executor.packages.errors import PackageError
from executor.packages.limits import DEFAULT_LIMITS, PackageLimits
from executor.packages.signature import PublicKey, parse_comment, verify_files

__all__ = ["InvalidPluginError", "PackageFolders", "Unpacked", "find_checksum"]

NEW: Final = ".new-"
"""How names of folders begin that are not finished, or on their way out."""

VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]{0,127}", re.ASCII)
"""A version that can be part of the name of a folder."""


class InvalidPluginError(PackageError):
    """A package holds no plugin that can be served.

    Attributes:
        findings: Everything that was found.
    """

    code = "package.plugin"

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.severity == "error"]
        lines = "".join(f"\n  {finding}" for finding in errors)
        super().__init__("", found=number_of(len(errors), "error"), expected="a plugin that can be served")
        self.args = (f"{self.args[0]}:{lines}",)
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A version of a plugin in its folder.

    Attributes:
        plugin: What is in it; its root is the folder.
        checksum: Of its files.
        key: The key that it is signed with; `None` when it is not signed, or by somebody else.
        signed: Whether it has a signature at all.
        findings: What is doubtful about the plugin.
        fresh: Whether it was not there before.
    """

    plugin: Plugin
    checksum: str
    key: PublicKey | None
    signed: bool
    findings: tuple[Finding, ...]
    fresh: bool

    @property
    def identifier(self) -> str:
        """`author/name:version@checksum`."""
        plugin = self.plugin
        return format_identifier(author=plugin.author, name=plugin.name, version=plugin.version, checksum=self.checksum)


class PackageFolders:
    """The folders of all installed versions.

    Args:
        root: The folder that they are in; made when the first one is installed.
        limits: How large a package may be.
        keys: Whose signatures count.
        require_signature: Whether a package without one is refused.
    """

    def __init__(
        self,
        root: Path,
        *,
        limits: PackageLimits = DEFAULT_LIMITS,
        keys: Sequence[PublicKey] = (),
        require_signature: bool = False,
    ) -> None:
        self.root = root
        self._limits = limits
        self._keys = tuple(keys)
        self._require_signature = require_signature

    def path(self, *, author: str, name: str, version: str, checksum: str) -> Path:
        """Tell where a version is, or would be."""
        return self.root / author / name / f"{version}@{checksum}"

    def add(self, data: bytes, keep: Callable[[Unpacked], None] | None = None) -> Unpacked:
        """Unpack a package; when its very files are there already, leave them.

        Args:
            data: The package.
            keep: Told what was unpacked, to write it down before `sweep` may find it.

        Raises:
            PackageError: It is refused. Nothing of it is left.
            OSError: The folder cannot be written.
        """
        archive = Archive(data, self._limits)
        if MANIFEST not in {entry.name for entry in archive.entries}:
            raise PackageError("", found="none", expected=f"an entry {MANIFEST} at the top")
        with self._locked():
            new = Path(tempfile.mkdtemp(prefix=NEW, dir=self.root))
            try:
                unpacked = self._finish(archive, new)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            if keep is not None:
                keep(unpacked)
            return unpacked

    def sweep(self, wanted: Callable[[], Collection[Path]]) -> tuple[Path, ...]:
        """Remove the folders of versions that nobody wants, and folders above them that are empty then.

        Args:
            wanted: Lists the folders that stay; called when nothing can be added.

        Returns:
            The folders that were removed.

        Raises:
            OSError: One cannot be removed.
        """
        if not self.root.is_dir():
            return ()
        with self._locked():
            kept = set(wanted())
            removed = tuple(folder for folder in sorted(self.root.glob("[!.]*/*/*@*")) if folder not in kept)
            for folder in removed:
                self._move_away(folder)
                for above in (folder.parent, folder.parent.parent):
                    with contextlib.suppress(OSError):
                        above.rmdir()
            return removed

    def _finish(self, archive: Archive, new: Path) -> Unpacked:
        """Fill a new folder, and give it its name when it is good."""
        digests = _extract(archive, new)
        signature = parse_comment(archive.comment)
        key: PublicKey | None = None
        try:
            key = verify_files(digests.values(), signature, self._keys)
        except PackageError:
            if self._require_signature:
                raise
        loaded = load_plugin(new)
        if loaded.plugin is None:
            raise InvalidPluginError(loaded.findings)
        plugin, checksum = loaded.plugin, compute_checksum(digests)
        if not VERSION.fullmatch(plugin.version):
            raise PackageError(MANIFEST, found=f"the version {plugin.version!r}", expected="one such as 1.2.3")
        folder = self.path(author=plugin.author, name=plugin.name, version=plugin.version, checksum=checksum)
        fresh = self._put(new, folder, checksum)
        return Unpacked(
            plugin=replace(plugin, root=Path(os.path.realpath(folder))),
            checksum=checksum,
            key=key,
            signed=signature is not None,
            findings=loaded.findings,
            fresh=fresh,
        )

    def _put(self, new: Path, folder: Path, checksum: str) -> bool:
        """Move a finished folder to its place, unless the same is there; whether it was moved."""
        if folder.is_dir():
            if find_checksum(folder, self._limits) == checksum:
                return False
            self._move_away(folder)  # somebody has changed it
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new.rename(folder)
        for above in (folder.parent, folder.parent.parent, self.root):
            sync_folder(above)
        return True

    def _move_away(self, folder: Path) -> None:
        """Remove a folder so that nobody ever sees a part of it."""
        away = Path(tempfile.mkdtemp(prefix=NEW, dir=self.root))
        with contextlib.suppress(FileNotFoundError):
            folder.rename(away / "old")
            sync_folder(folder.parent)
        shutil.rmtree(away, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other commands off, and remove what killed ones have left."""
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in self.root.glob(f"{NEW}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)


def find_checksum(folder: Path, limits: PackageLimits = DEFAULT_LIMITS) -> str:
    """Compute the checksum of what is in an installed folder now; empty when there is what no package can hold."""
    digests: dict[str, bytes] = {}
    for name in _list_files(folder):
        if name is None or len(digests) > limits.files:
            return ""
        digest = _digest(folder / name)
        if digest is None:
            return ""
        digests[name] = digest
    return compute_checksum(digests)


def _list_files(folder: Path) -> Iterator[str | None]:
    """List the files of an installed folder; `None` for what is not a regular file or has an odd name."""
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(at, name)
            if path.is_symlink() or not (path.is_dir() if name in folders else path.is_file()):
                yield None
        for name in files:
            relative = os.path.relpath(Path(at, name), folder)
            yield relative if relative.isprintable() else None


def _digest(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _extract(archive: Archive, root: Path) -> dict[str, bytes]:
    """Write all entries below a new folder and flush them to the disk.

    Returns:
        SHA-256 of each file's content, by its name, in the order of the archive.
    """
    root.chmod(0o755)  # for everybody: plugins run as users of their own
    digests: dict[str, bytes] = {}
    folders = {root}
    for entry in archive.entries:
        path = root / entry.name
        for above in reversed(path.parents[: entry.name.count("/")]):
            if above not in folders:
                above.mkdir()
                above.chmod(0o755)
                folders.add(above)
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(descriptor, 0o644)
            for piece in archive.read(entry):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(descriptor)
        digests[entry.name] = digest.digest()
    for folder in folders:
        sync_folder(folder)
    return digests
