"""Signatures of packages, as Dify's daemon makes and checks them.

The comment of the archive is JSON, `{"signature": BASE64, "time": UNIX_SECONDS}`. Signed, with RSA PKCS#1 v1.5 over
SHA-256, are the SHA-256 of each file's content, 32 bytes each, in the order of the archive, and then the time as a
decimal number. **Names are not signed**: who can change a package can exchange the names of two files of a signed one.
The checksum, which names a version wherever it is stored here, binds them.

Source: Dify's daemon, `pkg/plugin_packager/signer/withkey` and `decoder/verifier.go`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from executor.errors import ExecutorError, number_of
from executor.packages.errors import SignatureError

__all__ = [
    "KeyFileError",
    "PublicKey",
    "Signature",
    "load_private_key",
    "load_public_key",
    "parse_comment",
    "sign_files",
    "verify_files",
]

MAX_KEY_FILE: Final = 64 * 1024
MIN_KEY_BITS: Final = 2048
"""Shorter keys are broken, or soon will be. Dify's own has 4096 bits."""


class KeyFileError(ExecutorError):
    """A file of a key cannot be used."""

    code = "package.key_file"


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature of a package.

    Attributes:
        value: What was signed, by the private key.
        time: When, in Unix seconds; as the signer says, and signed too.
    """

    value: bytes
    time: int


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that packages may be signed with.

    Attributes:
        file: Where it came from, for people.
        key: The key.
    """

    file: Path
    key: RSAPublicKey


def load_public_key(file: Path) -> PublicKey:
    """Read a public key: PEM, either `RSA PUBLIC KEY` (PKCS#1), as Dify has it, or `PUBLIC KEY`.

    Raises:
        KeyFileError: There is none, or it is no RSA key of enough bits.
    """
    try:
        key = load_pem_public_key(_read_key_file(file))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{file}: expected a public RSA key in PEM, found something else") from error
    if not isinstance(key, RSAPublicKey):
        raise KeyFileError(f"{file}: expected an RSA key, found another kind of key")
    _check_bits(file, key.key_size)
    return PublicKey(file, key)


def load_private_key(file: Path) -> RSAPrivateKey:
    """Read a private key that has no password: PEM.

    Raises:
        KeyFileError: There is none, or it is no RSA key of enough bits.
    """
    try:
        key = load_pem_private_key(_read_key_file(file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{file}: expected a private RSA key in PEM without a password") from error
    if not isinstance(key, RSAPrivateKey):
        raise KeyFileError(f"{file}: expected an RSA key, found another kind of key")
    _check_bits(file, key.key_size)
    return key


def _read_key_file(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_KEY_FILE)
    except OSError as error:
        raise KeyFileError(f"{file}: the key cannot be read: {error.strerror}") from error


def _check_bits(file: Path, bits: int) -> None:
    if bits < MIN_KEY_BITS:
        raise KeyFileError(f"{file}: expected an RSA key of at least {MIN_KEY_BITS} bits, found {bits}")


def parse_comment(comment: bytes) -> Signature | None:
    """Read the comment of a package; `None` when it holds no signature, whatever it holds."""
    try:
        content = json.loads(comment)
        value, time = content["signature"], content["time"]
        if not isinstance(value, str) or type(time) is not int or not -(2**63) <= time < 2**63:
            return None
        return Signature(base64.b64decode(value, validate=True), time)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        return None


def sign_files(digests: Iterable[bytes], time: int, key: RSAPrivateKey) -> bytes:
    """Sign files, and return the comment of the package.

    Args:
        digests: SHA-256 of each file's content, in the order of the archive.
        time: Unix seconds.
        key: What to sign with.
    """
    value = key.sign(_signed(digests, time), PKCS1v15(), SHA256())
    return json.dumps({"signature": base64.b64encode(value).decode("ascii"), "time": time}).encode("ascii")


def verify_files(digests: Iterable[bytes], signature: Signature | None, keys: Iterable[PublicKey]) -> PublicKey:
    """Find the key that files were signed with.

    Args:
        digests: SHA-256 of each file's content, in the order of the archive.
        signature: What the package says; `None` when it says nothing.
        keys: Those that are trusted.

    Raises:
        SignatureError: None of them, or there is no signature.
    """
    trusted = tuple(keys)
    expected = f"a signature by one of packages.public_keys ({number_of(len(trusted), 'key')})"
    if signature is None:
        raise SignatureError("", found="no signature", expected=expected)
    signed = _signed(digests, signature.time)
    for trusted_key in trusted:
        try:
            trusted_key.key.verify(signature.value, signed, PKCS1v15(), SHA256())
        except InvalidSignature:
            continue
        return trusted_key
    raise SignatureError("", found="a signature by none of them, or of other files", expected=expected)


def _signed(digests: Iterable[bytes], time: int) -> bytes:
    return b"".join(digests) + str(time).encode("ascii")
