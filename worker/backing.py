"""Puts memory that will hardly change any more into files in memory, so that a fork has little to copy.

Theory of operation
-------------------
`fork` copies an entry for every page of private memory that was ever written to, and the exit of the child drops it
again; and for every mapping with such pages a record for each ancestor that had it, too. A zygote has four thousand
such pages in a hundred mappings: half of them are the interpreter's objects, the other parts of libraries that the
loader has filled in. A private mapping of a *file* that was not written to since is not copied at all: a child gets
its pages when it touches them, sixteen at a time.

So a zygote writes such memory to a file without a name (memfd_create(2)), and maps that privately in place of it, at
the same address and with the same content. What is written to from then on is copied by the kernel as ever, and shared
with nobody. The pages of the file are made huge where the kernel can do that, so that what has been touched is copied
and dropped in large pieces. The text of the interpreter comes with it: mapped by two entries instead of a thousand,
which every child would have to ask for.

Two times: when the base zygote has loaded its libraries, and when a plugin's zygote has everything that its workers
will have in common.

Memory that changes, be it a count of references, must not be written to between the two steps. So they are taken
by a small function in C (`worker/native/memory.c`), and where that was not built, only what nobody writes to is moved.

What is memory of the interpreter is told by its own records (`worker.obmalloc`): other allocators, say in libraries of
a plugin's environment, may rely on what anonymous memory promises (zeros after MADV_DONTNEED), and are left alone.

Sources: memfd_create(2), madvise(2), proc_pid_smaps(5); `copy_page_range` and `vma_needs_copy` of mm/memory.c and
`anon_vma_fork` of mm/rmap.c in Linux.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from ctypes import c_char, c_int, c_long, c_size_t
from dataclasses import dataclass
from itertools import pairwise
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, PAGESIZE, PROT_EXEC, PROT_READ, PROT_WRITE
from os import close
from typing import Final

from worker.native import back
from worker.obmalloc import list_arenas

__all__ = ["NATIVE", "back_heap", "back_libraries"]

_HUGE: Final = 1 << 21
"""Bytes of a huge page."""

_MAP_FIXED: Final = 0x10
_PROT_NONE: Final = 0
_MADV_COLLAPSE: Final = 25
_FAILED: Final = c_size_t(-1).value
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class _Region(ctypes.Structure):
    """`struct region` of `native/memory.c`."""

    _fields_ = (("start", c_size_t), ("size", c_size_t), ("offset", c_size_t), ("protection", c_size_t))


@dataclass(frozen=True, slots=True)
class _Part:
    """Memory to be moved: first address, the one after the last, and protection (PROT_READ and the like)."""

    start: int
    end: int
    protection: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A line of /proc/self/smaps.

    Attributes:
        start: First address.
        end: The one after the last.
        protection: PROT_READ and the like.
        private: Whether what is written to it is nobody else's.
        path: Of the file; empty for anonymous memory.
        written: Whether there are pages that were written to.
    """

    start: int
    end: int
    protection: int
    private: bool
    path: str
    written: bool

    @property
    def writable(self) -> bool:
        """Whether it can be written to."""
        return bool(self.protection & PROT_WRITE)

    @property
    def of_file(self) -> bool:
        """Whether it is a mapping of a file."""
        return self.path.startswith("/")


_libc: Final = ctypes.PyDLL(None, use_errno=True)
_mmap: Final = _libc.mmap
_mmap.argtypes = (c_size_t, c_size_t, c_int, c_int, c_int, c_long)
_mmap.restype = c_size_t
_munmap: Final = _libc.munmap
_munmap.argtypes = (c_size_t, c_size_t)
_madvise: Final = _libc.madvise
_madvise.argtypes = (c_size_t, c_size_t, c_int)


NATIVE: Final = back is not None
"""Whether there is the function in C."""


def back_libraries(*, text: bool = True) -> int:
    """Move what the loader has written to.

    Args:
        text: Whether what else there is of a library comes with it: fewer mappings, for some more memory.

    Returns:
        How many bytes it were: 0 where the kernel allows none of it. That costs time later, and nothing else.
    """
    parts: list[_Part] = []
    for mappings in _list_files():
        fixed = [one for one in mappings if not one.writable]
        if text and any(one.written for one in fixed) and _in_a_row(fixed):
            parts.append(_Part(fixed[0].start, fixed[-1].end, PROT_READ | PROT_EXEC))
        else:
            parts += [_Part(one.start, one.end, one.protection) for one in fixed if one.written]
        if NATIVE:
            parts += [_Part(one.start, one.end, one.protection) for one in mappings if one.writable and one.written]
    return _move(parts)


def back_heap() -> int:
    """Move the objects of the interpreter, and what was written to in libraries since; needs the function in C.

    Returns:
        How many bytes it were, as above.
    """
    if not NATIVE:
        return 0
    parts: list[_Part] = []
    for one in _read_mappings():
        if not (one.private and one.written and one.writable):
            continue
        if one.of_file or one.path == "[heap]":
            parts.append(_Part(one.start, one.end, one.protection))
        elif not one.path:
            parts += [_Part(start, end, one.protection) for start, end in list_arenas(one.start, one.end)]
    return _move(parts)


def _read_mappings() -> Iterator[_Mapping]:
    """Read what memory this process has, in the order of addresses; nothing where that cannot be read."""
    try:
        with open("/proc/self/smaps", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    head: list[str] = []
    for line in lines:
        fields = line.split(None, 5)
        if not fields[0].endswith(":"):
            head = fields
        elif fields[0] == "Anonymous:":
            start, end = (int(number, 16) for number in head[0].split("-"))
            rights = head[1]
            protection = PROT_READ * ("r" in rights) | PROT_WRITE * ("w" in rights) | PROT_EXEC * ("x" in rights)
            path = head[5].strip() if len(head) > 5 else ""  # noqa: PLR2004 - address, rights, offset, device, inode
            yield _Mapping(start, end, protection, rights[3] == "p", path, fields[1] != "0")


def _list_files() -> list[list[_Mapping]]:
    """List the files that are mapped, each with its mappings."""
    files: dict[str, list[_Mapping]] = {}
    for one in _read_mappings():
        if one.of_file and one.private:
            files.setdefault(one.path, []).append(one)
    return list(files.values())


def _in_a_row(mappings: list[_Mapping]) -> bool:
    return all(before.end == after.start for before, after in pairwise(mappings))


def _move(parts: list[_Part]) -> int:
    """Move memory into a file; how many bytes it were."""
    regions: list[_Region] = []
    offset = 0
    for part in parts:
        fits = part.start % _HUGE == offset % _HUGE
        if part.protection & PROT_WRITE:
            if fits:  # what is written to in a huge page is mapped anew, page by page
                offset += PAGESIZE
        elif part.size >= _HUGE:
            offset += (part.start - offset) % _HUGE
        regions.append(_Region(part.start, part.size, offset, part.protection))
        offset += part.size
    if not regions:
        return 0
    try:
        file = os.memfd_create("shared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return 0
    try:
        size = -(-offset // _HUGE) * _HUGE
        os.ftruncate(file, size)
        count = _replace(file, regions)
        _make_huge(file, size)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        return 0
    finally:
        close(file)
    return count


def _replace(file: int, regions: list[_Region]) -> int:
    if back is not None:
        code = back(file, (_Region * len(regions))(*regions), len(regions))
        if code:
            raise OSError(code, os.strerror(code))
        return sum(one.size for one in regions)
    count = 0
    for one in regions:
        if os.pwrite(file, (c_char * one.size).from_address(one.start), one.offset) == one.size:
            fixed = MAP_PRIVATE | _MAP_FIXED
            if _mmap(one.start, one.size, one.protection, fixed, file, one.offset) == _FAILED:
                break
            count += one.size
    return count


def _make_huge(file: int, size: int) -> None:
    """Have the pages of a file be huge ones; whether the kernel can do that or not."""
    room = _mmap(0, size + _HUGE, _PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if room == _FAILED:
        return
    start = -(-room // _HUGE) * _HUGE
    if _mmap(start, size, PROT_READ, MAP_PRIVATE | _MAP_FIXED, file, 0) != _FAILED:
        _madvise(start, size, _MADV_COLLAPSE)
    _munmap(room, size + _HUGE)
