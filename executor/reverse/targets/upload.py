"""Uploading a file of an endpoint to Dify: the second half of `upload_file`.

Dify answers the first half with a URL that it has signed for this file. It is used only where it leads to a place that
the operator has named, so that whoever answers for Dify cannot have the executor send requests elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, final

import httpx

from executor.reverse.call import CallFailedError
from executor.reverse.targets.failures import BAD_REQUEST
from executor.reverse.targets.http import HttpPeer
from executor.reverse.targets.plain import text_field

__all__ = ["Uploader"]

MAX_NAME: Final = 255
MAX_URL: Final = 8192
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?: *; *[\w.+-]+=[\w.+-]+)*", re.ASCII)
_ANSWERED: Final = {"id": str, "name": str, "size": int, "extension": str, "mime_type": str}
"""What the SDK's `UploadFileResponse` cannot do without."""


@final
class Uploader:
    """Uploads files.

    Args:
        peer: Sends the requests.
        bases: URLs of the places where files may be sent to; a URL of Dify's without a host is at the first one.
    """

    def __init__(self, peer: HttpPeer, bases: tuple[str, ...]) -> None:
        self._peer = peer
        self._bases = tuple(httpx.URL(base) for base in bases)

    def check(self, request: Mapping[str, object]) -> tuple[str, bytes, str]:
        """Take the file of a request.

        Returns:
            Name, content, media type.

        Raises:
            CallFailedError: One of them is missing or unfit.
        """
        name, media_type, content = (
            text_field(request, "filename"),
            text_field(request, "mimetype"),
            request.get("content"),
        )
        if not name.isprintable() or len(name) > MAX_NAME:
            raise CallFailedError(f"`filename` has to be 1 to {MAX_NAME} printable characters", BAD_REQUEST)
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise CallFailedError("`mimetype` has to be a media type such as image/png", BAD_REQUEST)
        if not isinstance(content, bytes):
            raise CallFailedError("`content` has to be the bytes of the file", BAD_REQUEST)
        return name, content, media_type

    async def upload(self, answered: object, file: tuple[str, bytes, str]) -> dict[str, object]:
        """Send a file to where Dify said.

        Args:
            answered: Dify's answer to the first half, which holds `url`.
            file: Name, content, media type.

        Returns:
            What Dify says of the file: `id`, `name`, `size`, `extension`, `mime_type`, `preview_url`.

        Raises:
            CallFailedError: The URL leads elsewhere, or the file was not taken.
        """
        url = self._place(answered)
        async with self._peer.post(url, files={"file": file}) as answer:
            await answer.check_status(httpx.codes.CREATED)
            document = await answer.json()
            if not isinstance(document, dict) or any(
                not isinstance(document.get(key), kind) for key, kind in _ANSWERED.items()
            ):
                raise answer.failure(f"took the file, but did not answer with its {', '.join(_ANSWERED)}")
            preview = document.get("preview_url")
        told: dict[str, object] = {key: document[key] for key in _ANSWERED}
        return {**told, "preview_url": preview if isinstance(preview, str) else None}

    def _place(self, answered: object) -> str:
        """Check where Dify wants the file, and make it a whole URL."""
        url = answered.get("url") if isinstance(answered, dict) else None
        if not isinstance(url, str) or not url or len(url) > MAX_URL:
            raise CallFailedError(f"{self._peer.name} named no place to upload the file to")
        try:
            place = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise CallFailedError(f"{self._peer.name} named no place to upload the file to: {error}") from error
        if place.is_relative_url and url.startswith("/") and not url.startswith("//") and self._bases:
            place = self._bases[0].copy_with(raw_path=place.raw_path)
        if place.userinfo or all(_origin(place) != _origin(base) for base in self._bases):
            allowed = ", ".join(f"{base.scheme}://{base.netloc.decode()}" for base in self._bases) or "nowhere"
            raise CallFailedError(
                f"{self._peer.name} wants the file at {place.scheme}://{place.netloc.decode()}, and files may be sent "
                f"to {allowed}: the operator has to name that place in `files_url`"
            )
        return str(place)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
