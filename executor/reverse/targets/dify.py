"""Reverse calls answered by Dify's inner API, as Dify's own daemon asks it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, final

import structlog

from executor.config.reverse_targets import DifySettings
from executor.reverse.call import CallFailedError, ReverseCall
from executor.reverse.targets.answer import Answer
from executor.reverse.targets.failures import UNAVAILABLE, shorten
from executor.reverse.targets.frames import FrameError, FrameReader
from executor.reverse.targets.http import HttpPeer
from executor.reverse.targets.kinds import KINDS, Kind
from executor.reverse.targets.plain import encode_request, hex_text
from executor.reverse.targets.upload import Uploader

__all__ = ["DifyTarget"]

log = structlog.get_logger("executor.reverse")

NOT_FOUND: Final = 404
UNKNOWN_USER: Final = "user not found"
"""What versions of Dify say that know end users by Dify's own ids only. They say it before they do anything."""
UNKNOWN_TENANT: Final = "tenant not found"

_USERS: Final = uuid.UUID("6f0c7c43-5d0f-4b3c-9a53-0e6a5f2b7d11")
"""The name space of the ids of users: Dify looks ids of users up in a column of UUIDs."""


@final
class DifyTarget:
    """Dify.

    Args:
        settings: Where it is, and what is waited for.
        api_key: The key of the inner API.
    """

    def __init__(self, settings: DifySettings, api_key: str) -> None:
        self._settings = settings
        self._headers = {"X-Inner-Api-Key": api_key}
        self._peer = HttpPeer("Dify", settings)
        self._uploader = Uploader(self._peer, (*settings.files_url, settings.url))
        self._knows_users = settings.end_users

    async def close(self) -> None:
        """Close all connections."""
        await self._peer.close()

    async def call(self, call: ReverseCall) -> AsyncGenerator[object, None]:
        """Answer one call, as `CallTarget` says.

        Raises:
            CallFailedError: There is no answer, or no more of it.
        """
        kind = KINDS.get(call.kind)
        if kind is None:
            raise CallFailedError(f"Dify's inner API does not answer calls of the kind {call.kind}")
        file = self._uploader.check(call.request) if call.kind == "upload_file" else None
        async with aclosing(self._ask(kind, call)) as answers:
            async for data in answers:
                yield data if file is None else await self._uploader.upload(data, file)

    async def _ask(self, kind: Kind, call: ReverseCall) -> AsyncGenerator[object, None]:
        """Send the request, once more for nobody in particular where Dify does not know the caller."""
        user = _user_id(call) if self._knows_users else ""
        try:
            async with aclosing(self._ask_for(kind, call, user)) as answers:
                async for data in answers:
                    yield data
        except _UnknownUserError:
            self._knows_users = False
            log.warning("dify knows no end users of ours", consequence="calls are made for DEFAULT-USER from now on")
        else:
            return
        async with aclosing(self._ask_for(kind, call, "")) as answers:
            async for data in answers:
                yield data

    async def _ask_for(self, kind: Kind, call: ReverseCall, user: str) -> AsyncGenerator[object, None]:
        document = {
            **_request(kind, call),
            "tenant_id": call.tenant_id,
            "user_id": user,
            "type": call.kind,
        }
        url = f"{self._settings.url}/inner/api/{kind.path}"
        async with self._peer.post(url, encode_request(document), headers=self._headers) as answer:
            await _check(answer, user)
            if not kind.streams:
                yield _data_of(answer, await answer.body(), nested=kind.nested)
                return
            reader = FrameReader(answer.part_size)
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    for part in _parts(answer, reader, piece):
                        yield _data_of(answer, part)
            _end(answer, reader)


class _UnknownUserError(Exception):
    """Dify knows no such user."""


def _user_id(call: ReverseCall) -> str:
    """Make the id of a user: a UUID, the same for the same caller of the same tenant; empty for nobody."""
    if not call.user_id:
        return ""
    try:
        return str(uuid.UUID(call.user_id))
    except ValueError:
        return str(uuid.uuid5(_USERS, f"{call.tenant_id}\n{call.user_id}"))


def _request(kind: Kind, call: ReverseCall) -> dict[str, object]:
    request = kind.select(call.request)
    if "file" in request:
        request["file"] = hex_text(request["file"], "file")
    return request


async def _check(answer: Answer, user: str) -> None:
    """Refuse an answer that says no."""
    hint = "is `url` right, and is `api_key`? Dify answers so to a wrong key" if answer.status == NOT_FOUND else ""
    try:
        await answer.check_status(hint=hint)
    except CallFailedError as error:
        if user and UNKNOWN_USER in error.message.lower():
            raise _UnknownUserError from error
        if UNKNOWN_TENANT in error.message.lower():
            text = f"{error.message}: the operator has to set `reverse.tenant` to the id of the workspace"
            raise CallFailedError(text, error.error_type) from error
        raise


def _parts(answer: Answer, reader: FrameReader, piece: bytes) -> list[bytes]:
    """Take the complete parts; those that only keep the connection alive are left out."""
    try:
        return [part for part in reader.feed(piece) if not part.startswith(b"event:")]
    except FrameError as error:
        raise answer.failure(f"answered with a stream that is broken: {error}", UNAVAILABLE) from error


def _end(answer: Answer, reader: FrameReader) -> None:
    try:
        reader.close()
    except FrameError as error:
        raise answer.failure(f"broke its answer off: {error}", UNAVAILABLE) from error


def _data_of(answer: Answer, document: bytes, *, nested: bool = False) -> object:
    """Take the data out of `{data, error}`."""
    envelope = answer.parse(document)
    if not isinstance(envelope, dict):
        raise answer.failure("answered with something else than {data, error}", UNAVAILABLE)
    error = envelope.get("error")
    if error:
        raise answer.failure(f"failed: {shorten(error if isinstance(error, str) else repr(error))}")
    data = envelope.get("data")
    if nested and isinstance(data, dict):
        data = data.get("data")
    if data is None:
        raise answer.failure("answered without data", UNAVAILABLE)
    return data
