"""What is read of a package, and what is refused."""

from __future__ import annotations

import io
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.packages.archive import Archive
from executor.packages.errors import PackageError
from executor.packages.folders import PackageFolders
from executor.packages.limits import DEFAULT_LIMITS, PackageLimits
from tests.executor.packages.support import GOOD, Raw, deflate, good_entries, make_zip

UNIX = 3 << 8
SMALL = PackageLimits(total_bytes=4000, file_bytes=3000, files=4, ratio=10, free_bytes=100)
CAT = b"meow " * 10


def read(data: bytes, limits: PackageLimits = DEFAULT_LIMITS) -> dict[str, bytes]:
    """Read everything."""
    archive = Archive(data, limits)
    return {entry.name: b"".join(archive.read(entry)) for entry in archive.entries}


def refuse(data: bytes, limits: PackageLimits = DEFAULT_LIMITS) -> PackageError:
    """Read everything, and return why it was refused; nothing of it may be left in the folder it is unpacked to."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "plugins")
        with pytest.raises(PackageError) as refused:
            PackageFolders(root, limits=limits).add(data)
        assert [path.name for path in root.glob("*")] in ([], [".lock"])
        assert [path.name for path in Path(folder).iterdir()] in ([], ["plugins"])
    return refused.value


def test_a_package_is_read() -> None:
    """Names, contents, order, comment; deflated, stored, empty, with descriptors, with harmless extra fields."""
    entries = [
        Raw(name=b"b.txt", content=CAT),
        Raw(name=b"a.txt", content=CAT, method=0),
        Raw(name=b"empty", content=b""),
        Raw(name="Käse/ß.txt".encode(), flags=0x800, extra=b"UT\5\0\3abcd", made_by=UNIX, attributes=0o100644 << 16),
    ]
    size = struct.pack("<3I", zlib.crc32(CAT), len(deflate(CAT)), len(CAT))
    entries += [
        Raw(name=b"marked", content=CAT, flags=8, descriptor=b"PK\7\x08" + size),
        Raw(name=b"bare", content=CAT, flags=8, descriptor=size, comment=b"about"),
    ]
    data = make_zip(entries, comment=b"{}")
    assert read(data) == {"b.txt": CAT, "a.txt": CAT, "empty": b"", "Käse/ß.txt": b"purr", "marked": CAT, "bare": CAT}
    assert list(read(data)) == zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert Archive(data, DEFAULT_LIMITS).comment == b"{}"


FIFO, LINK, BLOCK = (kind | 0o644 for kind in (stat.S_IFIFO, stat.S_IFLNK, stat.S_IFBLK))
HOSTILE: dict[str, tuple[Raw, str]] = {
    "dots": (Raw(name=b"../../etc/passwd"), '".." between slashes'),
    "inner dots": (Raw(name=b"a/../../b"), '".." between slashes'),
    "dot": (Raw(name=b"a/./b"), '"." between slashes'),
    "absolute": (Raw(name=b"/etc/passwd"), "an absolute path"),
    "double slash": (Raw(name=b"a//b"), "two slashes in a row"),
    "backslash": (Raw(name=b"..\\..\\b"), "a backslash"),
    "NUL": (Raw(name=b"cat.py\0.txt"), "a NUL character"),
    "escape": (Raw(name=b"\x1b[2Jcat"), "a control character"),
    "newline": (Raw(name=b"a\nb"), "a control character"),
    "direction": (Raw(name="a\u202eyp.exe".encode()), "a control character"),
    "folder": (Raw(name=b"group/", content=b"", method=0), "a folder"),
    "empty name": (Raw(name=b""), "an entry without a name"),
    "bytes": (Raw(name=b"caf\xe9"), "other bytes"),
    "surrogate": (Raw(name=b"\xed\xa0\x80"), "other bytes"),
    "long part": (Raw(name=b"a" * 256), "a part of 256 bytes"),
    "long name": (Raw(name=b"/".join([b"a" * 200] * 6)), "1205 bytes"),
    "deep": (Raw(name=b"/".join([b"a"] * 33)), "33 parts"),
    "twice": (Raw(name=b"manifest.yaml"), "the same name again"),
    "case": (Raw(name=b"MANIFEST.yaml"), 'a name that differs from "manifest.yaml" by case only'),
    "folder case": (Raw(name=b"Group/b.yaml"), 'a folder that differs from "group" by case only'),
    "file as folder": (Raw(name=b"manifest.yaml/x"), "a file that is the folder of another entry"),
    "folder as file": (Raw(name=b"group"), "a file that is the folder of another entry"),
    "link": (Raw(name=b"l", content=b"/etc/passwd", made_by=UNIX, attributes=LINK << 16), "a symbolic link"),
    "link made elsewhere": (Raw(name=b"l", attributes=LINK << 16), "a symbolic link"),
    "pipe": (Raw(name=b"p", made_by=UNIX, attributes=FIFO << 16), "a named pipe"),
    "device": (Raw(name=b"d", made_by=UNIX, attributes=BLOCK << 16), "a device"),
    "unix folder": (Raw(name=b"d", made_by=UNIX, attributes=0o040755 << 16), "a folder"),
    "odd kind": (Raw(name=b"d", made_by=UNIX, attributes=0o150000 << 16), "an entry of the unknown kind 150000"),
    "DOS folder": (Raw(name=b"d", attributes=0x10), "a folder"),
    "encrypted": (Raw(name=b"x", flags=1), "an encrypted entry"),
    "strongly encrypted": (Raw(name=b"x", flags=0x40), "the flags 0x0040"),
    "masked": (Raw(name=b"x", flags=0x2000), "the flags 0x2000"),
    "method": (Raw(name=b"x", method=12), "compression method 12"),
    "newer": (Raw(name=b"x", needed=45), "version 45 of the format"),
    "part": (Raw(name=b"x", disk=1), "an entry in part 1"),
    "zip64": (Raw(name=b"x", size=0xFFFFFFFF), "an entry of the form zip64"),
    "zip64 extra": (Raw(name=b"x", extra=struct.pack("<2HQ", 1, 8, 4)), "sizes of zip64 in an extra field"),
    "second name": (Raw(name=b"x", extra=b"up\5\0abcde"), "a second name in an extra field"),
    "second name in place": (Raw(name=b"x", local_extra=b"up\5\0abcde"), "a second name in an extra field"),
    "cut extra": (Raw(name=b"x", extra=b"UT\xff\0a"), "an extra field that is cut"),
    "shorter extra": (Raw(name=b"x", extra=b"UT"), "an extra field that is cut"),
    "other local name": (Raw(name=b"x", local_name=b"y"), "a header that differs from the directory"),
    "other local flags": (Raw(name=b"x", flags=2, local_flags=4), "a header that differs from the directory"),
    "other local size": (Raw(name=b"x", local_size=9), "a header that differs from the directory"),
    "wrong CRC": (Raw(name=b"x", crc=7), "CRC "),
    "wrong stored CRC": (Raw(name=b"x", method=0, crc=7), "CRC "),
    "too small": (Raw(name=b"x", content=CAT, size=10), "more than 10 bytes"),
    "too large": (Raw(name=b"x", content=CAT, size=60), "50 bytes"),
    "stored size": (Raw(name=b"x", method=0, size=60), "4 bytes stored"),
    "garbage": (Raw(name=b"x", data=b"\xff\xff\xff"), "data that cannot be inflated"),
    "cut data": (Raw(name=b"x", content=CAT, data=deflate(CAT)[:-2]), "data that ends too early"),
    "no data": (Raw(name=b"x", data=b""), "data that ends too early"),
    "more data": (Raw(name=b"x", data=deflate(b"purr") + b"!"), "data behind the end of what is deflated"),
    "no descriptor": (Raw(name=b"x", flags=8), "0 other bytes behind its data"),
    "wrong descriptor": (Raw(name=b"x", flags=8, descriptor=b"\1" * 12), "12 other bytes behind its data"),
    "hidden data": (Raw(name=b"x", descriptor=b"hidden"), "6 other bytes behind its data"),
    "overlap": (Raw(name=b"x", compressed_size=9000, size=9000), "data that overlaps what comes next"),
    "shared": (Raw(name=b"x", offset=0), "an entry at 0"),
    "elsewhere": (Raw(name=b"x", offset=5), "an entry at 5"),
    "outside": (Raw(name=b"x", offset=0x7FFFFFFF), "an entry at 2147483647"),
    "no header": (Raw(name=b"x", local=False), "an entry at "),
    "no mark": (Raw(name=b"x", mark=b"PK\1\3"), "entries in the directory"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_entry_is_refused(name: str) -> None:
    """By its name, with what was found and what would have been right; wherever it stands."""
    entry, found = HOSTILE[name]
    error = refuse(make_zip([*good_entries(), entry]))
    assert found in str(error)
    assert "expected" in str(error)
    assert str(error).isprintable()
    if entry.offset != 0:
        refuse(make_zip([entry, *good_entries()]))


def test_names_of_one_letter_are_names() -> None:
    """Python has each of them only once in memory, which makes two of them easily the same."""
    assert "the same name again" in str(refuse(make_zip([*good_entries(), Raw(name=b"a"), Raw(name=b"a")])))


WHOLE = {
    "nothing": (b"", "expected the end of a package, found none"),
    "text": (b"hello", "it is no zip archive"),
    "behind": (make_zip(good_entries(), behind=b"x"), "1 bytes behind the end"),
    "before": (b"#!/bin/sh\n" + make_zip(good_entries()), "expected one that ends at"),
    "shifted": (make_zip([Raw(name=b"a", before=b"hidden")]), "data before the first entry"),
    "gap": (make_zip(good_entries(), gap=b"hidden"), "expected one that ends at"),
    "gap inside": (make_zip([Raw(name=b"a")], gap=b"hidden", directory_size=53), "6 bytes behind the last entry"),
    "more entries": (make_zip(good_entries(), count=99), "expected 99 entries"),
    "fewer entries": (make_zip(good_entries(), count=1), "bytes behind the last entry of the directory"),
    "parts": (make_zip(good_entries(), disks=(1, 1)), "one part of several"),
    "split": (make_zip(good_entries(), counts=(1, 2)), "one part of several"),
    "zip64": (make_zip(good_entries(), count=0xFFFF), "an archive of the form zip64"),
    "comment size": (make_zip(good_entries(), comment=b"abc", comment_size=2), "3 bytes behind the end"),
    "no manifest": (make_zip([Raw(name=b"plugin/manifest.yaml")]), "an entry manifest.yaml at the top"),
    "empty": (make_zip([]), "expected 1 to 10000 files, found 0 files"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_hostile_archive_is_refused(name: str) -> None:
    """Ambiguous, damaged or empty ones."""
    data, found = WHOLE[name]
    assert found in str(refuse(data))


LARGE = {
    "package": ([Raw(name=b"x", content=b"", method=0)] * 20, "", "bytes, found"),
    "count": ([Raw(name=b"%d" % number) for number in range(5)], "", "expected 1 to 4 files, found 5 files"),
    "file": ([Raw(name=b"x", content=bytes(range(250)) * 13, method=0)], "x", "files of at most 3000 bytes"),
    "total": (
        [Raw(name=b"%d" % number, content=b"x" * 2500, method=0) for number in range(2)],
        "1",
        "5000 bytes up to",
    ),
    "ratio": ([Raw(name=b"x", content=bytes(2000))], "x", "expected a ratio of at most 10"),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_archive_is_refused(name: str) -> None:
    """Before anything is unpacked, by what it declares; it is held to that later."""
    entries, entry, found = LARGE[name]
    limits = SMALL if name != "package" else PackageLimits(total_bytes=10, files=1)
    error = refuse(make_zip(entries), limits)
    assert error.entry == entry
    assert found in str(error)


def test_a_bomb_costs_nothing() -> None:
    """A few kilobytes that unfold to 40 MiB are refused by the ratio, and by the size when it lies about that."""
    bomb = bytes(40 * 2**20)
    assert "a ratio of at most 200" in str(refuse(make_zip([Raw(name=b"bomb", content=bomb)])))
    lying = Raw(name=b"bomb", content=b"", data=deflate(bomb), size=1000)
    assert "more than 1000 bytes" in str(refuse(make_zip([*good_entries(), lying])))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_archive_is_refused(cut: int) -> None:
    """Wherever it was cut, from either end."""
    data = make_zip(good_entries())
    refuse(data[:-cut])
    refuse(data[cut:])


@given(
    files=st.dictionaries(
        st.text(st.sampled_from("abü/. "), min_size=1, max_size=8), st.binary(max_size=200_000), min_size=1, max_size=6
    ),
    stored=st.booleans(),
)
def test_what_is_read_is_what_others_read(files: dict[str, bytes], stored: bool) -> None:  # noqa: FBT001
    """Any archive that Python's `zipfile` writes is refused for its names, or read with the same contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    odd = {name for name in files if {"", ".", ".."} & set(name.split("/"))}
    both = {name[:end] for name in files for end, char in enumerate(name) if char == "/"} & set(files)
    if odd or both:
        refuse(buffer.getvalue())
    else:
        assert read(buffer.getvalue()) == files


@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 30),
)
def test_a_damaged_archive_is_refused_or_the_same(changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever bytes are changed: no other error, and no file with a content that it did not have."""
    data = bytearray(make_zip(good_entries(), comment=b"comment"))
    for place, value in changes:
        data[place % len(data)] = value
    contents = {content.encode() if isinstance(content, str) else content for content in GOOD.values()}
    try:
        found = read(bytes(data[: len(data) - cut]))
    except PackageError:
        return
    assert set(found.values()) <= contents


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    """No bytes but those of an archive are one."""
    for text in (data, b"PK\3\4" + data, data + b"PK\5\6" + bytes(18)):
        try:
            assert read(text) == {}
        except PackageError:
            continue
