"""Makes packages, good ones and hostile ones, with a say in every byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.executor.catalog.plugins import GOOD

__all__ = ["GOOD", "Raw", "good_entries", "make_key", "make_zip", "write_keys"]


@dataclass(kw_only=True)
class Raw:
    """An entry as it is written; what is not given is what is right."""

    name: bytes
    content: bytes = b"purr"
    method: int = 8
    flags: int = 0
    made_by: int = 0
    attributes: int = 0
    crc: int | None = None
    size: int | None = None
    compressed_size: int | None = None
    data: bytes | None = None
    extra: bytes = b""
    local_extra: bytes | None = None
    local_name: bytes | None = None
    local_flags: int | None = None
    local_size: int | None = None
    offset: int | None = None
    descriptor: bytes = b""
    before: bytes = b""
    comment: bytes = b""
    disk: int = 0
    needed: int = 20
    local: bool = True
    mark: bytes = field(default=b"PK\1\2")


def deflate(content: bytes) -> bytes:
    """Compress without a head."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return engine.compress(content) + engine.flush()


def make_zip(  # noqa: PLR0913 - as many as the format has
    entries: Sequence[Raw],
    *,
    comment: bytes = b"",
    comment_size: int | None = None,
    count: int | None = None,
    counts: tuple[int, int] | None = None,
    disks: tuple[int, int] = (0, 0),
    start: int | None = None,
    directory_size: int | None = None,
    gap: bytes = b"",
    behind: bytes = b"",
) -> bytes:
    """Put an archive together."""
    out = b""
    directory = b""
    for entry in entries:
        data = entry.data
        if data is None:
            data = deflate(entry.content) if entry.method == 8 else entry.content
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        size = len(entry.content) if entry.size is None else entry.size
        compressed = len(data) if entry.compressed_size is None else entry.compressed_size
        out += entry.before
        offset = len(out) if entry.offset is None else entry.offset
        name = entry.name if entry.local_name is None else entry.local_name
        flags = entry.flags if entry.local_flags is None else entry.local_flags
        extra = entry.extra if entry.local_extra is None else entry.local_extra
        sizes = (0, 0, 0) if flags & 8 else (crc, compressed, size if entry.local_size is None else entry.local_size)
        head = struct.pack(
            "<4s5H3I2H", b"PK\3\4", entry.needed, flags, entry.method, 0, 33, *sizes, len(name), len(extra)
        )
        if entry.local:
            out += head + name + extra + data + entry.descriptor
        directory += struct.pack(
            "<4s6H3I5H2I",
            *(entry.mark, entry.made_by, entry.needed, entry.flags, entry.method, 0, 33, crc, compressed, size),
            *(len(entry.name), len(entry.extra), len(entry.comment), entry.disk, 0, entry.attributes, offset),
        )
        directory += entry.name + entry.extra + entry.comment
    here, total = counts or (len(entries) if count is None else count,) * 2
    end = struct.pack(
        "<4s4H2IH",
        *(b"PK\5\6", *disks, here, total, len(directory) if directory_size is None else directory_size),
        *(len(out) if start is None else start, len(comment) if comment_size is None else comment_size),
    )
    return out + directory + gap + end + comment + behind


def good_entries(changed: Mapping[str, str | bytes] | None = None) -> list[Raw]:
    """The entries of a plugin that can be served."""
    files = {**GOOD, **(changed or {})}
    return [
        Raw(name=name.encode(), content=content.encode() if isinstance(content, str) else content)
        for name, content in files.items()
    ]


def make_key(bits: int = 2048) -> RSAPrivateKey:
    """Make a key."""
    return generate_private_key(public_exponent=65537, key_size=bits)


def write_keys(key: RSAPrivateKey, folder: Path) -> tuple[Path, Path]:
    """Write a key's two halves as Dify does, PKCS#1 in PEM; the private one first."""
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1))
    return private, public
