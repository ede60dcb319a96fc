"""Fuzzes the reader of packages: `python -m tests.fuzz --target package --seconds 60`.

What must hold, whatever the bytes are:

1. Nothing but `PackageError` escapes, and its text can be printed to a terminal.
2. What is accepted keeps the limits, and its names stay inside a folder.
3. What is accepted, Python's `zipfile` reads as the same files with the same contents.

The mutator knows where the structures of an archive are: it changes their fields, exchanges, repeats and cuts them.
"""

from __future__ import annotations

import io
import random
import sys
import time
import zipfile
from pathlib import PurePosixPath
from typing import Final

from executor.packages.archive import Archive
from executor.packages.errors import PackageError
from executor.packages.limits import PackageLimits
from tests.executor.packages.support import Raw, make_zip

__all__ = ["PackageMutator", "check_package", "fuzz_packages"]

LIMITS: Final = PackageLimits(total_bytes=100_000, file_bytes=50_000, files=20, ratio=50, free_bytes=1000)
MARKS: Final = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\7\x08")
NAMES: Final = (b"a", b"a/b", b"A", b"../x", b"/x", b"x\0y", b"x\\y", b"x/", b"\xff", "ü".encode(), b"manifest.yaml")
VALUES: Final = (0, 1, 8, 0xFF, 0xFFFF, 0xFFFFFFFF)


def check_package(data: bytes) -> int:
    """Check one input; an AssertionError or any other exception is a finding.

    Returns:
        How many files it held, to tell whether the fuzzer gets anywhere; 0 when it was refused.
    """
    try:
        archive = Archive(data, LIMITS)
        found = {entry.name: b"".join(archive.read(entry)) for entry in archive.entries}
    except PackageError as error:
        assert str(error).isprintable()  # noqa: PT017 - what is checked
        return 0
    assert 0 < len(found) <= LIMITS.files
    assert sum(map(len, found.values())) <= LIMITS.total_bytes
    for name in found:
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert str(path) == name
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert [info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437") for info in other.infolist()] == [
            name.encode() for name in found
        ]
        assert [other.read(info) for info in other.infolist()] == list(found.values())
    return len(found)


class PackageMutator:
    """Makes archives, most of them broken in one or two places.

    Args:
        seed: Of the random numbers; the same seed gives the same inputs.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next_input(self) -> bytes:
        """Return the next input."""
        choose = self._random.choice
        entries = [self._entry(number) for number in range(self._random.randint(1, 4))]
        if self._random.random() < 0.2:
            entries.append(Raw(name=choose(NAMES), offset=choose((0, 1, 40))))
        data = bytearray(make_zip(entries, comment=choose((b"", b"{}", b"PK\5\6" + bytes(18)))))
        for _ in range(choose((0, 1, 1, 2))):
            self._change(data)
        return bytes(data)

    def _entry(self, number: int) -> Raw:
        choose = self._random.choice
        name = choose(NAMES) if self._random.random() < 0.15 else b"file%d" % number
        content = self._random.randbytes(choose((0, 1, 30, 600))) if self._random.random() < 0.8 else bytes(20_000)
        entry = Raw(name=name, content=content, method=choose((0, 8)))
        if self._random.random() < 0.15:
            entry.extra = choose((b"UT\1\0x", b"up\1\0x", b"\1\0\0\0", b"x"))
        if self._random.random() < 0.15:
            entry.attributes = choose((0o100644, 0o120777, 0o040755)) << 16
        return entry

    def _change(self, data: bytearray) -> None:
        """Change a byte or a field near the mark of a structure, or cut, repeat or insert a piece."""
        mark = data.find(self._random.choice(MARKS), self._random.randint(0, len(data) // 2))
        place = max(mark, 0) + self._random.randint(0, 46)
        match self._random.randint(0, 4):
            case 0:
                data[place : place + 1] = bytes([self._random.randint(0, 255)])
            case 1:
                size = self._random.choice((2, 4))
                value = self._random.choice(VALUES) & ((1 << 8 * size) - 1)
                data[place : place + size] = value.to_bytes(size, "little")
            case 2:
                del data[place : place + self._random.randint(1, 40)]
            case 3:
                data[place:place] = data[place : place + self._random.randint(1, 60)]
            case _:
                data[place:place] = self._random.randbytes(self._random.randint(1, 8))


def fuzz_packages(seconds: float, seed: int) -> tuple[int, int]:
    """Fuzz for so long.

    Returns:
        How many inputs were tried, and how many files they held.
    """
    mutator, inputs, files = PackageMutator(seed), 0, 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = mutator.next_input()
        try:
            files += check_package(data)
        except BaseException:
            sys.stderr.write(f"input {inputs} of seed {seed}: {data.hex()}\n")
            raise
        inputs += 1
    return inputs, files
