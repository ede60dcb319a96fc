"""Signatures and checksums."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from executor.packages.checksum import compute_checksum, format_identifier
from executor.packages.errors import SignatureError
from executor.packages.folders import PackageFolders
from executor.packages.signature import (
    KeyFileError,
    load_private_key,
    load_public_key,
    parse_comment,
    sign_files,
    verify_files,
)
from tests.executor.packages.support import Raw, good_entries, make_key, make_zip, write_keys

KEY = make_key()
TIME = 1_744_632_035


def digests(entries: list[Raw]) -> list[bytes]:
    """SHA-256 of each content, in order."""
    return [hashlib.sha256(entry.content).digest() for entry in entries]


def test_what_is_signed_is_what_dify_signs() -> None:
    """Contents in order, then the time; checked with nothing of ours."""
    entries = good_entries()
    comment = json.loads(sign_files(digests(entries), TIME, KEY))
    assert comment["time"] == TIME
    signed = b"".join(digests(entries)) + b"1744632035"
    KEY.public_key().verify(base64.b64decode(comment["signature"]), signed, PKCS1v15(), SHA256())


def test_a_signed_package_is_installed(tmp_path: Path) -> None:
    """By the key that it was signed with, of several; one that is not among them is refused where it is required."""
    private, public = write_keys(KEY, tmp_path)
    other = tmp_path / "other.pem"
    other.write_bytes(make_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    entries = good_entries()
    data = make_zip(entries, comment=sign_files(digests(entries), TIME, load_private_key(private)))
    keys = [load_public_key(other), load_public_key(public)]
    unpacked = PackageFolders(tmp_path / "one", keys=keys, require_signature=True).add(data)
    assert unpacked.key == keys[1]
    strangers = PackageFolders(tmp_path / "two", keys=keys[:1], require_signature=True)
    with pytest.raises(SignatureError, match="found a signature by none of them, or of other files"):
        strangers.add(data)
    assert [path.name for path in strangers.root.iterdir()] == [".lock"]
    lenient = PackageFolders(tmp_path / "three", keys=keys[:1]).add(data)
    assert lenient.key is None
    assert lenient.signed


def test_a_changed_package_is_refused(tmp_path: Path) -> None:
    """A content, the order, the time, the signature, no signature at all."""
    keys = [load_public_key(write_keys(KEY, tmp_path)[1])]
    entries = good_entries()
    comment = sign_files(digests(entries), TIME, KEY)
    changed = good_entries({"endpoints/cat.py": "import os\n"})
    swapped = [*entries[1:], entries[0]]
    later = comment.replace(b"1744632035", b"1744632036")
    broken = comment[:20] + bytes([comment[20] ^ 1]) + comment[21:]
    folders = PackageFolders(tmp_path / "plugins", keys=keys, require_signature=True)
    for wrong, text in ((changed, comment), (swapped, comment), (entries, later), (entries, broken), (entries, b"")):
        with pytest.raises(SignatureError, match=r"expected a signature by one of packages\.public_keys \(1 key\)"):
            folders.add(make_zip(wrong, comment=text))
    assert folders.add(make_zip(entries, comment=comment)).key == keys[0]


@given(
    st.binary(max_size=100)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["signature", "time"]), inner),
            max_leaves=6,
        ),
    )
)
def test_any_comment_is_read(comment: bytes) -> None:
    """As a signature, or as none; never with an error."""
    signature = parse_comment(comment)
    assert signature is None or isinstance(signature.time, int)
    if signature is not None:
        with pytest.raises(SignatureError):
            verify_files([b""], signature, ())


def test_other_keys_are_refused(tmp_path: Path) -> None:
    """Each with the file and what is wrong with it."""
    none = tmp_path / "none.pem"
    text = tmp_path / "text.pem"
    text.write_text("key")
    short = tmp_path / "short"
    short.mkdir()
    private, public = write_keys(make_key(1024), short)
    curve = tmp_path / "curve.pem"
    curve_key = generate_ec_key(SECP256R1())
    curve.write_bytes(curve_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    curve_private = tmp_path / "curve-private.pem"
    curve_private.write_bytes(curve_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    locked = tmp_path / "locked.pem"
    locked.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    for file, message in (
        (none, "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (text, "expected a public RSA key in PEM"),
        (public, "at least 2048 bits, found 1024"),
        (curve, "expected an RSA key"),
    ):
        with pytest.raises(KeyFileError, match=f"{file}.*{message}"):
            load_public_key(file)
    for file, message in (
        (none, "cannot be read"),
        (text, "expected a private RSA key"),
        (locked, "without a password"),
        (private, "at least 2048 bits"),
        (curve_private, "expected an RSA key"),
    ):
        with pytest.raises(KeyFileError, match=f"{file}.*{message}"):
            load_private_key(file)


def test_the_checksum_binds_names_and_contents() -> None:
    """By hand, from the description; the order of the archive does not matter, the order of bytes of names does."""
    one, two = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()
    names = [hashlib.sha256(name).digest() for name in (b"B", "ä".encode())]
    expected = hashlib.sha256(names[0] + one + names[1] + two).hexdigest()
    assert compute_checksum({"B": one, "ä": two}) == compute_checksum({"ä": two, "B": one}) == expected
    assert compute_checksum({"B": two, "ä": one}) != expected
    assert format_identifier(author="a", name="n", version="1.0.0", checksum="c") == "a/n:1.0.0@c"
