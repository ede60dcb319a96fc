"""The rainbow cat: a stream of pictures, for terminals (`curl -N`) and for browsers."""

import time
from collections.abc import Iterator, Mapping
from html import escape

from cat.picture import HEIGHT, draw
from cat.writing import write_ansi, write_html
from dify_plugin import Endpoint
from werkzeug import Request, Response

FRAMES_PER_SECOND = 12
MOST_FRAMES = 1200
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"  # shown after each frame: the client may leave at any time

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Rainbow cat</title>
<style>
body { background: #0f1236; color: #cdd3ff; font: 16px/1.5 system-ui, sans-serif; text-align: center; margin: 4vh 0 }
pre { font: 16px/1 monospace; display: inline-block; margin: 2vh 0; text-align: left }
pre b { font-weight: normal }
pre:not(:last-of-type) { display: none }
</style></head><body>
<h1>%s flies for you</h1>
<p>Every frame is a chunk of one streamed response, made by a process that lives for this request only.</p>
"""


class Neko(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        frames = min(max(r.args.get("frames", default=60, type=int), 1), MOST_FRAMES)
        name = settings.get("cat_name") or "Nyako"
        # Browsers ask for HTML. Of `*/*`, which curl and its like send, the first that is offered is the best match.
        if r.accept_mimetypes.best_match(["text/plain", "text/html"]) == "text/html":
            return Response(self._page(name, frames), content_type="text/html; charset=utf-8")
        return Response(self._film(name, frames), content_type="text/plain; charset=utf-8")

    def _film(self, name: str, frames: int) -> Iterator[str]:
        """For a terminal: each frame is written over the one before."""
        for number, picture in self._play(frames):
            up = f"\x1b[{HEIGHT // 2 + 1}A" if number else ""
            caption = f"{name}, frame {number + 1} of {frames}\n"
            yield f"{HIDE_CURSOR}{up}{write_ansi(picture)}{SHOW_CURSOR}{caption}"

    def _page(self, name: str, frames: int) -> Iterator[str]:
        """For a browser: each frame hides the one before."""
        yield PAGE % escape(name)
        for _, picture in self._play(frames):
            yield f"<pre>{write_html(picture)}</pre>\n"
        yield "</body></html>\n"

    def _play(self, frames: int) -> Iterator[tuple[int, list]]:
        for number in range(frames):
            yield number, draw(number)
            time.sleep(1 / FRAMES_PER_SECOND)
