"""The answer of a server of others, read within bounds.

Every number of bytes is bounded before it is waited for or unpacked: what arrives is counted as it arrives, and what is
compressed is unpacked in pieces of at most `PIECE_SIZE` bytes, each of which is counted as well.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final, Never, final

import httpx

from executor.reverse.call import CallFailedError
from executor.reverse.targets.failures import CONNECTION, UNAVAILABLE, describe_refusal, error_type_of, shorten

__all__ = ["Answer", "parse_json"]

PIECE_SIZE: Final = 65536
REFUSAL_SIZE: Final = 16384
"""Bytes of an answer that says no that are read: enough for a message."""

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
MAX_ID: Final = 128
HIDDEN: Final = "***"
MIN_SECRET: Final = 8
"""Characters of what is taken for a secret: a shorter one is none, and could be part of any text."""

GZIP_WINDOW: Final = 31
"""zlib.decompressobj: a gzip header and trailer, and the largest window."""


@final
class Answer:
    """One answer, of which the head has come.

    Args:
        response: Of httpx, not read yet. Borrowed: the caller closes it.
        peer: Who answers, for messages, such as `Dify`.
        request_id: The id that the request was sent with.
        part_size: Largest whole body or part of a stream, in bytes.
        answer_size: Largest body, in bytes.
        secrets: What the request had that no message may repeat.

    Attributes:
        status: Of HTTP.
        request_id: The id under which the server's log may know the request: its own, or the one that it was sent.
    """

    __slots__ = ("_answer_size", "_peer", "_response", "_secrets", "part_size", "request_id", "status")

    def __init__(
        self,
        response: httpx.Response,
        peer: str,
        *,
        request_id: str,
        part_size: int,
        answer_size: int,
        secrets: Sequence[str] = (),
    ) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= MIN_SECRET]
        self._response = response
        self._peer = peer
        self._answer_size = answer_size
        self.part_size = part_size
        self.status = response.status_code
        theirs = response.headers.get("x-request-id", "")
        self.request_id = theirs if 0 < len(theirs) <= MAX_ID and theirs.isprintable() else request_id

    @property
    def media_type(self) -> str:
        """The type of the body, such as `application/json`; empty when none is given."""
        return shorten(self._response.headers.get("content-type", "").partition(";")[0].strip().lower())

    def failure(self, message: str, error_type: str = "") -> CallFailedError:
        """Make the error that says what is wrong with this answer, and whose it is."""
        return CallFailedError(self._hide(f"{self._peer} {message} (request id {self.request_id})"), error_type)

    async def check_status(self, *expected: int, hint: str = "") -> None:
        """Refuse any status but the expected ones, 200 if none is named.

        Args:
            expected: Statuses to go on with.
            hint: What may be the reason, for the message.

        Raises:
            CallFailedError: It is another one; the server's message is in it.
        """
        if self.status in (expected or (httpx.codes.OK,)):
            return
        if self._response.is_redirect:
            message = (
                f"answered {self.status}, a redirect, which is not followed; the URL in the configuration is wrong"
            )
            raise self.failure(message, CONNECTION)
        text = describe_refusal(self._hide_in(await self._beginning()))
        reason = "".join(f": {part}" for part in (text, hint) if part)
        raise self.failure(f"answered {self.status}{reason}", error_type_of(self.status))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Read the body as it comes, unpacked, in pieces of 1 to about `PIECE_SIZE` bytes.

        Raises:
            CallFailedError: It is longer than allowed, or cannot be unpacked.
            httpx.HTTPError: The connection failed.
        """
        encoding = self._response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity", "gzip"}:
            raise self.failure(f"answered with the content encoding {shorten(encoding)!r}, which was not asked for")
        unpack = _Gunzip(self) if encoding == "gzip" else None
        count = 0
        async for data in self._response.aiter_raw():
            for piece in unpack.feed(data) if unpack else (data,):
                count += len(piece)
                if count > self._answer_size:
                    self.refuse_size("answer_size", self._answer_size)
                if piece:
                    yield piece
        if unpack is not None:
            unpack.close()

    async def body(self) -> bytes:
        """Read the whole body.

        Raises:
            CallFailedError: It is larger than `part_size`.
        """
        body = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > self.part_size:
                    self.refuse_size("part_size", self.part_size)
        return bytes(body)

    async def json(self) -> object:
        """Read the whole body as JSON.

        Raises:
            CallFailedError: It is too large, or is not JSON.
        """
        return self.parse(await self.body())

    def parse(self, document: bytes) -> object:
        """Read JSON that is part of the answer.

        Raises:
            CallFailedError: It is not JSON.
        """
        try:
            return parse_json(self._hide_in(document))
        except ValueError as error:
            beginning = shorten(self._hide_in(document)[:80].decode(errors="replace"))
            raise self.failure(f"answered with what is not JSON ({error}): {beginning!r}", UNAVAILABLE) from error

    def refuse_size(self, setting: str, limit: int) -> Never:
        """Refuse an answer for its size.

        Raises:
            CallFailedError: Always.
        """
        raise self.failure(f"answered with more than the {limit} bytes that `{setting}` allows")

    def _hide(self, text: str) -> str:
        """Take secrets out of what is told."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def _hide_in(self, document: bytes) -> bytes:
        """Take secrets out of what a server says, before it is cut, so that no beginning of one is left."""
        for secret in self._secrets:
            document = document.replace(secret.encode(), HIDDEN.encode())
        return document

    async def _beginning(self) -> bytes:
        """Read the beginning of the body, whatever its length."""
        body = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= REFUSAL_SIZE:
                    break
        return bytes(body[:REFUSAL_SIZE])


def parse_json(document: bytes) -> object:
    """Read JSON as the standard has it: UTF-8, no NaN, no halves of characters, no bottomless nesting.

    Raises:
        ValueError: It is not that.
    """
    try:
        text = document.decode()
        value = json.loads(text, parse_constant=_refuse_constant)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except UnicodeEncodeError:
        raise ValueError("half of a character") from None
    return value


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


@final
class _Gunzip:
    """Unpacks gzip as it comes, a bounded piece at a time."""

    __slots__ = ("_answer", "_unpacker")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._unpacker = zlib.decompressobj(GZIP_WINDOW)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._unpacker.eof:
            try:
                piece = self._unpacker.decompress(data, PIECE_SIZE)
            except zlib.error as error:
                raise self._answer.failure(f"answered with what is not gzip ({error})") from error
            yield piece
            data = self._unpacker.unconsumed_tail
            if not piece and not data:
                return

    def close(self) -> None:
        if not self._unpacker.eof:
            raise self._answer.failure("ended its compressed answer in the middle", CONNECTION)
