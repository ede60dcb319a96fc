"""Packing a plugin's folder, so that the same files always give the same package."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from executor.catalog.files import FileError, PluginFiles
from executor.catalog.manifest import MANIFEST
from executor.packages.errors import PackageError
from executor.packages.ignore import IgnoreRules, parse_rules
from executor.packages.limits import DEFAULT_LIMITS, PackageLimits
from executor.packages.names import check_name, check_names
from executor.packages.signature import sign_files

__all__ = ["Packed", "pack_folder", "read_folder"]

IGNORE_FILES: Final = (".difyignore", ".gitignore")
"""The first that is there counts."""

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: the first that the format knows."""

LEVEL: Final = 9


@dataclass(frozen=True, slots=True)
class Packed:
    """A package that was made.

    Attributes:
        data: The package.
        digests: SHA-256 of each file's content, by its name, in the order of the archive.
    """

    data: bytes
    digests: dict[str, bytes]


def pack_folder(
    root: Path, *, key: RSAPrivateKey | None = None, limits: PackageLimits = DEFAULT_LIMITS, now: int | None = None
) -> Packed:
    """Pack a folder.

    Args:
        root: The plugin's folder.
        key: What to sign the package with; `None` to leave it unsigned. Signatures carry the time, so that a signed
            package is another one every second.
        limits: How large it may be.
        now: Unix seconds of the signature; the present if not given.

    Raises:
        PackageError: A file cannot be packed, or there are too many or too large ones.
    """
    digests: dict[str, bytes] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, allowZip64=False, compresslevel=LEVEL) as archive:
        for name, content in read_folder(root, limits):
            digests[name] = hashlib.sha256(content).digest()
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 0
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, LEVEL)
        if key is not None:
            archive.comment = sign_files(digests.values(), int(time.time()) if now is None else now, key)
    if MANIFEST not in digests:
        raise PackageError("", found="none", expected=f"a {MANIFEST} in {root}")
    return Packed(buffer.getvalue(), digests)


def read_folder(root: Path, limits: PackageLimits = DEFAULT_LIMITS) -> Iterator[tuple[str, bytes]]:
    """Read the files of a folder that belong into a package.

    Yields:
        (name, content), sorted by name.

    Raises:
        PackageError: A file cannot be packed, or there are too many or too large ones.
    """
    names = sorted(_walk(root, _read_rules(root), limits), key=str.encode)
    check_names(names)
    total = 0
    for name in names:
        content = _read(root, name, min(limits.file_bytes, limits.total_bytes - total))
        total += len(content)
        yield name, content


def _read_rules(root: Path) -> IgnoreRules:
    files = PluginFiles(root)
    for name in IGNORE_FILES:
        try:
            return parse_rules(files.read(name).decode("utf-8", "replace"))
        except FileError as error:
            if (root / name).exists():
                raise PackageError(name, found=error.found, expected=error.expected) from error
        except ValueError as error:
            raise PackageError(name, found=str(error), expected="patterns such as git's") from error
    return parse_rules("")


def _walk(root: Path, rules: IgnoreRules, limits: PackageLimits) -> Iterator[str]:
    """Find the files that are not left out; what is neither file nor folder is refused."""
    folders: list[tuple[str, ...]] = [()]
    seen = 0
    while folders:
        parts = folders.pop()
        for entry in _scan(root, parts):
            seen += 1
            if seen > limits.files:
                found = f"more than {limits.files} files and folders"
                raise PackageError("/".join(parts), found=found, expected=f"at most {limits.files} files")
            inner = (*parts, _text(entry.name))
            is_folder = entry.is_dir(follow_symlinks=False)
            if rules.leaves_out(inner, folder=is_folder):
                continue
            name = "/".join(inner)
            check_name(name)
            if is_folder:
                folders.append(inner)
            elif entry.is_file(follow_symlinks=False):
                yield name
            else:
                found = "a symbolic link" if entry.is_symlink() else "a pipe, socket or device"
                hint = "put the file itself there, or leave it out in .difyignore"
                raise PackageError(name, found=found, expected="regular files alone", hint=hint)


def _scan(root: Path, parts: tuple[str, ...]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root.joinpath(*parts)) as found:
            return list(found)
    except OSError as error:
        raise _unreadable("/".join(parts), error) from error


def _text(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise PackageError(name, found="other bytes", expected="a name in UTF-8") from None
    return name


def _read(root: Path, name: str, limit: int) -> bytes:
    try:
        descriptor = os.open(root / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PackageError(name, found="something else", expected="a regular file")
            content = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(content) > limit:
        hint = "leave out what the plugin does not need, in .difyignore"
        expected = f"at most {limit} bytes, with what was packed before it"
        raise PackageError(name, found="a larger file", expected=expected, hint=hint)
    return content


def _unreadable(name: str, error: OSError) -> PackageError:
    return PackageError(name, found=(error.strerror or "an error").lower(), expected="what can be read")
