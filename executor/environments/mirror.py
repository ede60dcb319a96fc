"""The index that builds see: the configured ones, and nothing else of the network.

Theory of operation
-------------------
A build has a loopback of its own, on which one socket listens; the socket is ours (`worker.workshop`). What connects
to it can ask for the page of a package and for files that such a page names. We fetch both (`upstream`), and write
pages anew, with addresses beside themselves. So a build needs no name, no certificate and no password, reaches no host,
and has nothing to send anything to: what goes out are names of packages and files that the index has told us before.

    /i/<index>/<package>/                   page of a package
    /i/<index>/<package>/<file>[.metadata]  one of its files
    /l/<number>/, /l/<number>/<file>        what is linked (find_links)
"""

from __future__ import annotations

import asyncio
import html
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from executor.environments.errors import BuildError
from executor.environments.simple_page import JSON_TYPE, PackageFile, is_project_name, write_page
from executor.environments.upstream import Upstream, UpstreamError
from executor.gateway.http_protocol import HeadLimits
from executor.http.answers import Answer, plain, send_answer
from executor.http.asgi import Receive, Scope, Send
from executor.server import HttpServer

__all__ = ["Mirror"]

LIMITS: Final = HeadLimits(
    url_size=4096,
    header_size=16 * 1024,
    header_count=64,
    header_time_s=30.0,
    connections=128,
    client_idle_time_s=60.0,
)
MAX_PAGES: Final = 5000
"""Packages that one build may ask for; large environments have some hundreds."""

MAX_FILES: Final = 400_000
"""Files on all pages that one build has asked for, which are held until its end; half a gigabyte at most."""

MAX_PROBLEMS: Final = 20
START_TIME_S: Final = 30.0
_METADATA: Final = ".metadata"


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request that is being answered."""

    scope: Scope
    send: Send


class Mirror:
    """Serves a build, in a thread of its own; use it as a context.

    Args:
        listener: Listens where the build is. Taken over.
        upstream: Fetches.
        on_file: Called, in that thread, with the name and size of each file that is sent whole.

    Attributes:
        problems: What could not be fetched, and why.
        requests: How many requests there were.
    """

    def __init__(self, listener: socket.socket, upstream: Upstream, on_file: Callable[[str, int | None], None]) -> None:
        self._listener = listener
        self._upstream = upstream
        self._on_file = on_file
        self._pages: dict[str, asyncio.Future[dict[str, PackageFile] | None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._held = 0
        self.problems: list[str] = []
        self.requests = 0

    def __enter__(self) -> Self:
        """Begin to serve.

        Raises:
            BuildError: It cannot.
        """
        self._thread.start()
        if not self._started.wait(START_TIME_S) or self._failure is not None:
            raise BuildError(f"the index for the build could not be served: {self._failure or 'no answer'}")
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - no bodies are read
        """Answer one request."""
        self.requests += 1
        if scope["method"] not in {"GET", "HEAD"}:
            await send_answer(send, plain(405))
            return
        head = scope["method"] == "HEAD"
        try:
            match scope["path"].split("/")[1:]:
                case ["i", index, name, ""] if index.isdecimal() and is_project_name(name):
                    await send_answer(send, await self._page(int(index), name), head=head)
                case ["i", index, name, file] if index.isdecimal() and is_project_name(name):
                    await self._send_file(f"i/{int(index)}/{name}", file, _Exchange(scope, send), head=head)
                case ["l", number, ""] if number.isdecimal():
                    await send_answer(send, await self._link_page(int(number)), head=head)
                case ["l", number, file] if number.isdecimal():
                    await self._send_file(f"l/{int(number)}", file, _Exchange(scope, send), head=head)
                case _:
                    await send_answer(send, plain(404))
        except UpstreamError as error:
            self._complain(str(error))
            await send_answer(send, plain(502, str(error)))

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._upstream:
            server = HttpServer(self, self._listener, LIMITS)
            await server.start()
            self._started.set()
            await self._stop.wait()
            server.force_exit = True
            await server.stop()

    async def _page(self, index: int, name: str) -> Answer:
        files = await self._find(f"i/{index}/{name}")
        if files is None:
            return plain(404)
        body = await asyncio.to_thread(write_page, name, files.values())
        return Answer(200, body, [(b"content-type", JSON_TYPE.encode())])

    async def _link_page(self, number: int) -> Answer:
        files = await self._find(f"l/{number}") or {}
        links = "\n".join(f'<a href="{html.escape(name)}">{html.escape(name)}</a>' for name in files)
        return Answer(200, f"<!DOCTYPE html><html><body>\n{links}\n</body></html>\n".encode(), [_HTML])

    async def _find(self, key: str) -> dict[str, PackageFile] | None:
        """Find the files of a page, by name; it is asked for once."""
        known = self._pages.get(key)
        if known is None:
            if len(self._pages) >= MAX_PAGES:
                raise UpstreamError(f"the build has asked for more than {MAX_PAGES} packages")
            known = self._pages[key] = asyncio.ensure_future(self._ask(key))
        try:
            return await asyncio.shield(known)
        except UpstreamError:
            self._pages.pop(key, None)  # whoever asks again is served again
            raise

    async def _ask(self, key: str) -> dict[str, PackageFile] | None:
        kind, number, *rest = key.split("/")
        try:
            found = await (
                self._upstream.find_page(int(number), rest[0])
                if kind == "i"
                else self._upstream.find_links(int(number))
            )
        except IndexError:
            return None
        self._held += len(found or ())
        if self._held > MAX_FILES:
            raise UpstreamError(f"the packages that the build has asked for have more than {MAX_FILES} files")
        return None if found is None else {file.name: file for file in found}

    async def _send_file(self, key: str, name: str, exchange: _Exchange, *, head: bool) -> None:
        send = exchange.send
        files = await self._find(key) or {}
        if name.endswith(_METADATA) and name not in files:
            file = files.get(name.removesuffix(_METADATA))
            if file is None or not file.has_metadata:
                await send_answer(send, plain(404))
                return
            content = await self._upstream.metadata(file)
            await send_answer(send, Answer(200, content, [(b"content-type", b"application/octet-stream")]), head=head)
            return
        file = files.get(name)
        if file is None or head:
            await send_answer(send, plain(404 if file is None else 200), head=head)
            return
        await self._stream(file, exchange)

    async def _stream(self, file: PackageFile, exchange: _Exchange) -> None:
        """Send a file while it comes; what goes wrong on the way cuts the connection."""
        send = exchange.send
        sizes: list[int | None] = []
        begun = False
        try:
            async for piece in self._upstream.stream(file, sizes.append):
                if not begun:
                    begun = True
                    await send(_start(sizes[0]))
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except UpstreamError as error:
            if not begun:
                raise
            self._complain(str(error))
            exchange.scope["extensions"]["executor.cut"](True)
            return
        if not begun:
            await send(_start(0))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self._on_file(file.name, sizes[0] if sizes else 0)

    def _complain(self, problem: str) -> None:
        if problem not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


_HTML: Final = (b"content-type", b"text/html; charset=utf-8")


def _start(size: int | None) -> dict[str, object]:
    headers = [(b"content-type", b"application/octet-stream")]
    if size is not None:
        headers.append((b"content-length", b"%d" % size))
    return {"type": "http.response.start", "status": 200, "headers": headers}
