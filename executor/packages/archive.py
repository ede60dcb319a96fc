"""Reading a package: a zip archive of which nobody vouches for a byte.

The format allows much that readers understand differently: data before, between and behind the entries, entries that
share data, sizes and names that stand in two places and differ, second names in extra fields. A package that one
reader finds harmless can be something else for the next. So this reader takes only what has one meaning::

    local header  name  extra  data  [descriptor]      of each entry, in the order of the directory, without a gap
    ...
    directory header  name  extra  comment             of each entry
    ...
    end of directory  comment                          up to the last byte

Both headers of an entry agree. Entries are stored or deflated, not encrypted; there is one part, and no zip64. Sizes
are checked before anything is unpacked, and held to while it is.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5. Tests read the same archives with Python's `zipfile`.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from executor.errors import number_of
from executor.packages.errors import PackageError
from executor.packages.limits import PackageLimits
from executor.packages.names import check_name, check_names, decode_name

__all__ = ["Archive", "Entry"]

LOCAL: Final = struct.Struct("<4s5H3I2H")
DIRECTORY: Final = struct.Struct("<4s6H3I5H2I")
END: Final = struct.Struct("<4s4H2IH")
DESCRIPTOR: Final = struct.Struct("<3I")
LOCAL_MARK: Final = b"PK\3\4"
DIRECTORY_MARK: Final = b"PK\1\2"
END_MARK: Final = b"PK\5\6"
DESCRIPTOR_MARK: Final = b"PK\7\x08"

STORED: Final = 0
DEFLATED: Final = 8
HAS_DESCRIPTOR: Final = 0x0008
ENCRYPTED: Final = 0x0001
KNOWN_FLAGS: Final = 0x0806 | HAS_DESCRIPTOR
"""How hard it was compressed, bits 1 and 2; a descriptor behind the data; names in UTF-8, bit 11."""

VERSION_NEEDED: Final = 20
"""To extract what is deflated, 2.0; section 4.4.3."""

DOS_FOLDER: Final = 0x10
MAX_32: Final = 0xFFFFFFFF
MAX_16: Final = 0xFFFF
AMBIGUOUS_EXTRA: Final = {0x0001: "sizes of zip64", 0x7075: "a second name", 0x6375: "a second comment"}

KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
BLOCK: Final = 64 * 1024

DAMAGED: Final = "the package is damaged, or was not made as packages are; pack it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a package.

    Attributes:
        name: Relative path, checked.
        size: Bytes of its content.
        start: Where its data begins in the package.
        stop: Where its data ends.
        deflated: Whether its data has to be inflated.
        crc: CRC-32 of its content.
    """

    name: str
    size: int
    start: int
    stop: int
    deflated: bool
    crc: int


@dataclass(frozen=True, slots=True)
class _Header:
    """An entry as the directory has it."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


class Archive:
    """A package whose structure was found to be sound.

    Args:
        data: The whole package.
        limits: How large it may be.

    Raises:
        PackageError: It is not sound, or too large.
    """

    def __init__(self, data: bytes, limits: PackageLimits) -> None:
        if len(data) > limits.package_bytes:
            raise PackageError("", found=f"{len(data)} bytes", expected=f"at most {limits.package_bytes} bytes")
        self._data = data
        start, stop, count, self.comment = _read_end(data)
        if not 0 < count <= limits.files:
            raise PackageError("", found=f"{count} files", expected=f"1 to {limits.files} files")
        headers = _read_directory(data, start, stop, count)
        check_names(header.name for header in headers)
        _check_sizes(headers, limits)
        _check_order(headers, start)
        ends = [header.offset for header in headers[1:]] + [start]
        self.entries = tuple(_locate(data, header, end) for header, end in zip(headers, ends, strict=True))

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Read the content of an entry, in pieces of at most 64 KiB.

        Raises:
            PackageError: It is not what the directory says.
        """
        size, crc = 0, 0
        for piece in self._inflate(entry) if entry.deflated else self._copy(entry):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
            yield piece
        if size != entry.size:
            raise PackageError(entry.name, found=f"{size} bytes", expected=f"{entry.size} bytes", hint=DAMAGED)
        if crc != entry.crc:
            raise PackageError(entry.name, found=f"CRC {crc:08x}", expected=f"CRC {entry.crc:08x}", hint=DAMAGED)

    def _copy(self, entry: Entry) -> Iterator[bytes]:
        for start in range(entry.start, entry.stop, BLOCK):
            yield self._data[start : min(start + BLOCK, entry.stop)]

    def _inflate(self, entry: Entry) -> Iterator[bytes]:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        left = entry.size
        pending = memoryview(self._data)[entry.start : entry.stop]
        while True:
            given = engine.unconsumed_tail or pending[:BLOCK]
            pending = pending if engine.unconsumed_tail else pending[BLOCK:]
            try:
                piece = engine.decompress(given, BLOCK)
            except zlib.error as error:
                raise _damaged(entry.name, f"data that cannot be inflated ({error})", "deflated data") from error
            left -= len(piece)
            if left < 0:
                raise _damaged(entry.name, f"more than {entry.size} bytes", f"{entry.size} bytes, as it declares")
            if piece:
                yield piece
            if engine.eof:
                break
            if not (piece or pending or engine.unconsumed_tail):
                raise _damaged(entry.name, "data that ends too early", "the whole of it")
        if engine.unused_data or pending:
            raise _damaged(entry.name, "data behind the end of what is deflated", "none")


def _read_end(data: bytes) -> tuple[int, int, int, bytes]:
    """Read the end of the directory.

    Returns:
        (start, stop, count, comment): where the directory is, of how many entries, and the package's comment.
    """
    place = data.rfind(END_MARK, max(0, len(data) - END.size - MAX_16))
    if place < 0 or place + END.size > len(data):
        hint = "it is no zip archive, or the end of it is missing"
        raise PackageError("", found="none", expected="the end of a package", hint=hint)
    _, disk, first_disk, here, count, size, start, comment_size = END.unpack_from(data, place)
    comment = data[place + END.size :]
    if len(comment) != comment_size:
        raise _damaged("", f"{len(comment)} bytes behind the end", f"a comment of {comment_size} bytes")
    if MAX_16 in {disk, first_disk, here, count} or MAX_32 in {size, start}:
        raise PackageError("", found="an archive of the form zip64", expected="a smaller one, without zip64")
    if disk or first_disk or here != count:
        raise PackageError("", found="one part of several", expected="a package of one part")
    if start + size != place:
        raise _damaged("", f"a directory from {start} to {start + size}", f"one that ends at {place}")
    return start, place, count, comment


def _read_directory(data: bytes, start: int, stop: int, count: int) -> list[_Header]:
    headers: list[_Header] = []
    place = start
    for _ in range(count):
        if place + DIRECTORY.size > stop or data[place : place + 4] != DIRECTORY_MARK:
            found = number_of(len(headers), "entry", "entries")
            raise _damaged("", f"{found} in the directory", number_of(count, "entry", "entries"))
        _, made_by, needed, flags, method, _, _, crc, compressed, size, *sizes, disk, _, attributes, offset = (
            DIRECTORY.unpack_from(data, place)
        )
        name_size, extra_size, comment_size = sizes
        place += DIRECTORY.size
        raw_name = data[place : min(place + name_size, stop)]
        extra = data[place + name_size : min(place + name_size + extra_size, stop)]
        place += name_size + extra_size + comment_size
        if place > stop:
            raise _damaged("", "a directory that ends within an entry", "the whole of it")
        name = decode_name(raw_name)
        _check_kind(name, made_by, attributes)
        check_name(name)
        _check_version(name, needed)
        _check_form(name, flags, method, disk)
        _check_extra(name, extra)
        if MAX_32 in {compressed, size, offset}:
            raise PackageError(name, found="an entry of the form zip64", expected="a smaller one, without zip64")
        headers.append(_Header(raw_name, name, flags, method, crc, compressed, size, offset))
    if place != stop:
        raise _damaged("", f"{stop - place} bytes behind the last entry of the directory", "none")
    return headers


def _check_kind(name: str, made_by: int, attributes: int) -> None:
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in {0, stat.S_IFREG}:
        found = KINDS.get(kind, f"an entry of the unknown kind {kind:o}")
        raise PackageError(name, found=found, expected="regular files alone")
    if made_by >> 8 == 0 and attributes & DOS_FOLDER and not name.endswith("/"):
        raise PackageError(name, found="a folder", expected="regular files alone")


def _check_version(name: str, needed: int) -> None:
    """Refuse entries that say that they need more than deflate. The upper byte is a system, of no matter."""
    if needed & 0xFF > VERSION_NEEDED:
        found = f"version {needed & 0xFF} of the format"
        raise PackageError(name, found=found, expected=f"at most version {VERSION_NEEDED}, that of deflated entries")


def _check_form(name: str, flags: int, method: int, disk: int) -> None:
    if flags & ENCRYPTED:
        raise PackageError(name, found="an encrypted entry", expected="one that is not encrypted")
    if flags & ~KNOWN_FLAGS:
        raise PackageError(name, found=f"the flags {flags:#06x}", expected=f"flags within {KNOWN_FLAGS:#06x}")
    if method not in {STORED, DEFLATED}:
        raise PackageError(name, found=f"compression method {method}", expected="stored (0) or deflated (8)")
    if disk:
        raise PackageError(name, found=f"an entry in part {disk}", expected="a package of one part")


def _check_extra(name: str, extra: bytes) -> None:
    """Refuse extra fields that give an entry a second name or second sizes."""
    place = 0
    while place < len(extra):
        if place + 4 > len(extra):
            raise _damaged(name, "an extra field that is cut", "whole ones")
        field, size = struct.unpack_from("<2H", extra, place)
        place += 4 + size
        if place > len(extra):
            raise _damaged(name, "an extra field that is cut", "whole ones")
        if field in AMBIGUOUS_EXTRA:
            found = f"{AMBIGUOUS_EXTRA[field]} in an extra field"
            raise PackageError(name, found=found, expected="one name and one size for each entry")


def _check_sizes(headers: list[_Header], limits: PackageLimits) -> None:
    total = 0
    for header in headers:
        total += header.size
        if header.size > limits.file_bytes:
            expected = f"files of at most {limits.file_bytes} bytes"
            raise PackageError(header.name, found=f"{header.size} bytes", expected=expected)
        if total > limits.total_bytes:
            expected = f"at most {limits.total_bytes} bytes in all files together"
            raise PackageError(header.name, found=f"{total} bytes up to this one", expected=expected)
        if header.size > limits.free_bytes and header.size > header.compressed * limits.ratio:
            found = f"{header.size} bytes compressed to {header.compressed}"
            raise PackageError(header.name, found=found, expected=f"a ratio of at most {limits.ratio}")
        if header.method == STORED and header.size != header.compressed:
            raise _damaged(header.name, f"{header.compressed} bytes stored", f"{header.size}, as it declares")


def _check_order(headers: list[_Header], directory: int) -> None:
    """Check that entries stand in the order of the directory, from the first byte on, before the directory."""
    if headers[0].offset != 0:
        raise _damaged(headers[0].name, "data before the first entry", "none")
    for before, header in pairwise(headers):
        if not before.offset < header.offset < directory:
            raise _damaged(header.name, f"an entry at {header.offset}", "entries in the order of the directory")


def _locate(data: bytes, header: _Header, end: int) -> Entry:
    """Find the data of an entry, and check that it fills the room up to the next one."""
    if end < header.offset + LOCAL.size or data[header.offset : header.offset + 4] != LOCAL_MARK:
        raise _damaged(header.name, "no header at its place", "a header before its data")
    _, needed, flags, method, _, _, crc, compressed, size, name_size, extra_size = LOCAL.unpack_from(
        data, header.offset
    )
    _check_version(header.name, needed)
    name_start = header.offset + LOCAL.size
    start = name_start + name_size + extra_size
    stop = start + header.compressed
    if stop > end:
        raise _damaged(header.name, "data that overlaps what comes next", "data of its own")
    same = (data[name_start : name_start + name_size], flags, method) == (header.raw_name, header.flags, header.method)
    sizes = (crc, compressed, size)
    agreed = (header.crc, header.compressed, header.size)
    has_descriptor = bool(flags & HAS_DESCRIPTOR)
    if not same or (sizes != agreed and not (has_descriptor and sizes == (0, 0, 0))):
        raise _damaged(header.name, "a header that differs from the directory", "the same in both places")
    _check_extra(header.name, data[name_start + name_size : start])
    behind = data[stop:end]
    allowed = [DESCRIPTOR.pack(*agreed), DESCRIPTOR_MARK + DESCRIPTOR.pack(*agreed)] if has_descriptor else [b""]
    if behind not in allowed:
        raise _damaged(header.name, f"{len(behind)} other bytes behind its data", "the next entry")
    return Entry(
        name=header.name, size=header.size, start=start, stop=stop, deflated=method == DEFLATED, crc=header.crc
    )


def _damaged(name: str, found: str, expected: str) -> PackageError:
    return PackageError(name, found=found, expected=expected, hint=DAMAGED)
