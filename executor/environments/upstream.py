"""The executor's own way to the indexes: pages and files, fetched where builds cannot reach.

Passwords, certificates and proxies are used here and nowhere else. Whatever an index answers is bounded in size and
time; files go on to a build while they come, and are kept if they are what the index has said.
"""

from __future__ import annotations

import asyncio
import contextlib
import netrc
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final, Self
from urllib.parse import unquote, urlsplit

import httpx

from executor.environments.downloads import DownloadCache
from executor.environments.indexes import IndexSettings, hide_password
from executor.environments.simple_page import (
    ACCEPT,
    JSON_TYPE,
    PackageFile,
    PageError,
    is_file_name,
    read_page,
    write_page,
)

__all__ = ["Upstream", "UpstreamError"]

MAX_PAGE: Final = 128 * 1024**2
MAX_FILE: Final = 4 * 1024**3
MAX_METADATA: Final = 16 * 1024**2
PIECE: Final = 256 * 1024
TIMEOUT: Final = httpx.Timeout(30.0, connect=15.0)
CONNECTIONS: Final = httpx.Limits(max_connections=32, max_keepalive_connections=16)
_ARCHIVES: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz")
_METADATA: Final = ".metadata"


class UpstreamError(Exception):
    """An index could not be asked; the text says which and why, without passwords."""


class Upstream:
    """Fetches from indexes; use it as a context, in one event loop.

    Args:
        settings: Where packages come from.
        cache: What was fetched before.
        offline: Whether nothing is fetched from anywhere but this host.
    """

    def __init__(self, settings: IndexSettings, cache: DownloadCache, *, offline: bool) -> None:
        self._settings = settings
        self._cache = cache
        self._offline = offline
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Get ready; nothing is fetched yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def find_page(self, index: int, name: str) -> tuple[PackageFile, ...] | None:
        """Ask an index which files a package has.

        Args:
            index: Its place among the indexes.
            name: Of the package, normalised.

        Returns:
            The files; None when the index does not have the package.

        Raises:
            UpstreamError: It could not be asked.
        """
        url = f"{self._settings.indexes[index].rstrip('/')}/{name}/"
        if urlsplit(url).scheme == "file":
            return await asyncio.to_thread(_read_folder_page, url)
        if self._offline:
            kept = self._cache.find_page(url)
            return None if kept is None else read_page(kept, JSON_TYPE, url)
        fetched = await self._fetch_page(url)
        if fetched is not None:
            content = await asyncio.to_thread(write_page, name, fetched, absolute=True)
            await asyncio.to_thread(self._cache.keep_page, url, content)
        return fetched

    async def find_links(self, number: int) -> tuple[PackageFile, ...]:
        """List what a folder, or a page of links, has.

        Args:
            number: Its place among the links.

        Raises:
            UpstreamError: It could not be asked.
        """
        link = self._settings.links[number]
        if "://" not in link:
            return await asyncio.to_thread(_list_folder, Path(link))
        if urlsplit(link).scheme == "file":
            return await asyncio.to_thread(_list_folder, Path(unquote(urlsplit(link).path)))
        if self._offline:
            return ()
        found = await self._fetch_page(link)
        return tuple(file for file in found or () if file.name.endswith(_ARCHIVES))

    async def stream(self, file: PackageFile, on_size: Callable[[int | None], None]) -> AsyncIterator[bytes]:
        """Yield a file in pieces.

        Args:
            file: As a page has told.
            on_size: Called before the first piece, with the size in bytes if it is known.

        Raises:
            UpstreamError: It cannot be had, or is not what the page has told.
        """
        local = await asyncio.to_thread(self._open_here, file)
        if local is not None:
            with local:
                on_size(os.fstat(local.fileno()).st_size)
                while piece := await asyncio.to_thread(local.read, PIECE):
                    yield piece
            return
        if self._offline:
            raise UpstreamError(f"{file.name} was not fetched before, and environments.offline is on")
        with self._cache.receive(dict(file.hashes)) as incoming:
            async with self._get(file.url) as answer:
                length = answer.headers.get("content-length", "")
                on_size(int(length) if length.isdecimal() else None)
                total, held = 0, b""
                async for piece in answer.aiter_bytes(PIECE):
                    total += len(piece)
                    if total > MAX_FILE:
                        raise UpstreamError(f"{file.name} is larger than {MAX_FILE} bytes")
                    incoming.write(piece)
                    if held:
                        yield held
                    held = piece
            if not await asyncio.to_thread(incoming.finish):  # before the last piece is given away
                raise UpstreamError(f"{file.name} is not the file that the index describes: its digest differs")
            if held:
                yield held

    async def metadata(self, file: PackageFile) -> bytes:
        """Fetch the metadata of a wheel.

        Raises:
            UpstreamError: It cannot be had.
        """
        kept = self._cache.find_page(file.url + _METADATA)
        if kept is not None:
            return kept
        if self._offline or urlsplit(file.url).scheme == "file":
            raise UpstreamError(f"the metadata of {file.name} was not fetched before")
        async with self._get(file.url + _METADATA) as answer:
            content = await _read(answer, MAX_METADATA)
        await asyncio.to_thread(self._cache.keep_page, file.url + _METADATA, content)
        return content

    async def _fetch_page(self, url: str) -> tuple[PackageFile, ...] | None:
        try:
            async with self._get(url, accept=ACCEPT) as answer:
                content = await _read(answer, MAX_PAGE)
                kind, base = answer.headers.get("content-type", ""), str(answer.url)
            return await asyncio.to_thread(read_page, content, kind, base)
        except _MissingError:
            return None
        except PageError as error:
            raise UpstreamError(f"{hide_password(url)}: {error}") from error

    def _open_here(self, file: PackageFile) -> BinaryIO | None:
        """Open a file that is on this host."""
        if urlsplit(file.url).scheme == "file":
            try:
                return open(unquote(urlsplit(file.url).path), "rb")  # noqa: PTH123 - closed by the caller
            except OSError as error:
                raise UpstreamError(f"{file.name} cannot be read: {error}") from error
        return self._cache.find(file)

    @contextlib.asynccontextmanager
    async def _get(self, url: str, *, accept: str = "*/*") -> AsyncIterator[httpx.Response]:
        if self._client is None:
            context = await asyncio.to_thread(_trust, self._settings.certificates)
            self._client = httpx.AsyncClient(
                verify=context, follow_redirects=True, timeout=TIMEOUT, limits=CONNECTIONS, max_redirects=5
            )
        headers = {"Accept": accept, "Accept-Encoding": "gzip" if accept != "*/*" else "identity"}
        try:
            async with self._client.stream("GET", url, headers=headers, auth=self._credentials(url)) as answer:
                if answer.status_code in {404, 410}:
                    raise _MissingError(f"{hide_password(url)} is not there")
                if answer.status_code != 200:  # noqa: PLR2004 - OK
                    raise UpstreamError(f"{hide_password(url)} answered {answer.status_code} {answer.reason_phrase}")
                yield answer
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UpstreamError(f"{hide_password(url)} could not be fetched: {reason}") from error
        except httpx.InvalidURL as error:
            raise UpstreamError(f"{hide_password(url)} is no address: {error}") from error

    def _credentials(self, url: str) -> httpx.BasicAuth | None:
        """The user and password of an index hold for files on the same host."""
        wanted = urlsplit(url)
        for index in (*self._settings.indexes, *self._settings.links):
            parts = urlsplit(index)
            same = (parts.scheme, parts.hostname, parts.port) == (wanted.scheme, wanted.hostname, wanted.port)
            if same and parts.username is not None:
                return httpx.BasicAuth(unquote(parts.username), unquote(parts.password or ""))
        return _from_netrc(wanted.hostname or "")


class _MissingError(UpstreamError):
    """There is no such page or file."""


async def _read(answer: httpx.Response, limit: int) -> bytes:
    parts, total = [], 0
    async for piece in answer.aiter_bytes(PIECE):
        total += len(piece)
        if total > limit:
            raise UpstreamError(f"{hide_password(str(answer.url))} is larger than {limit} bytes")
        parts.append(piece)
    return b"".join(parts)


def _from_netrc(host: str) -> httpx.BasicAuth | None:
    """The user and password that the user's file has for a host by its name, as pip and uv take them."""
    try:
        found = netrc.netrc(os.environ.get("NETRC")).hosts.get(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return httpx.BasicAuth(found[0] or found[1], found[2]) if found else None


def _trust(certificates: str) -> ssl.SSLContext:
    """Trust the certificates of the system, those that come with Python's libraries, and those that are configured."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if certificates:
        try:
            context.load_verify_locations(certificates)
        except (OSError, ssl.SSLError) as error:
            raise UpstreamError(f"the certificates in {certificates} cannot be used: {error}") from error
    return context


def _read_folder_page(url: str) -> tuple[PackageFile, ...] | None:
    """Read a page of an index that is a folder of this host."""
    folder = Path(unquote(urlsplit(url).path))
    try:
        with (folder / "index.html").open("rb") as file:
            return read_page(file.read(MAX_PAGE), "text/html", url)
    except (FileNotFoundError, NotADirectoryError):
        return _list_folder(folder) or None
    except (OSError, PageError) as error:
        raise UpstreamError(f"{hide_password(url)} cannot be read: {error}") from error


def _list_folder(folder: Path) -> tuple[PackageFile, ...]:
    try:
        found = (path.name for path in folder.iterdir())
        names = sorted(name for name in found if name.endswith(_ARCHIVES) and is_file_name(name))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise UpstreamError(f"{folder} cannot be read: {error}") from error
    return tuple(PackageFile(name, (folder / name).absolute().as_uri()) for name in names)
