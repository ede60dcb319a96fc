"""One launch: a package becomes a function, and whoever waits is told what is going on.

The daemon gives up after a while, and asks again; so a launch goes on without it, and whoever asks for the same package
meanwhile joins it.

What the daemon makes of the lines: `State` `failed` is the end, with the `Message`; stage `run` with `success` names
the function in a list of `name=value`; stage `end` puts it in force; all others are progress. Source:
langgenius/dify-plugin-daemon bdb5642a, `serverless_connector/connector.go`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final, final

from executor.catalog.findings import printable

__all__ = ["Launch", "launch_line"]

MAX_LINES: Final = 2000
"""Lines of progress that are kept; the rest is only in the log."""

MAX_TEXT: Final = 4000
"""Characters of a message."""


def launch_line(stage: str, state: str, message: str = "") -> bytes:
    """Write a line of a launch."""
    text = "\n".join(printable(line) for line in message[:MAX_TEXT].splitlines())
    return json.dumps({"Stage": stage, "State": state, "Obj": "", "Message": text}).encode() + b"\n"


@final
class Launch:
    """The lines of one launch, for any number of readers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = [launch_line("start", "running")]
        self._changed = asyncio.Event()
        self._done = False

    def tell(self, text: str) -> None:
        """Add a line of progress; any thread may do so."""
        self._loop.call_soon_threadsafe(self._add_progress, launch_line("build", "running", text))

    def succeed(self, url: str, name: str) -> None:
        """End the launch: the function can be called."""
        self._lines.append(launch_line("run", "success", f"endpoint={url},name={name},id={name}"))
        self._end(launch_line("end", "success"))

    def fail(self, stage: str, text: str) -> None:
        """End the launch: there is no function."""
        self._end(launch_line(stage, "failed", text))

    async def read(self) -> AsyncIterator[bytes]:
        """Read all lines, and wait for those to come."""
        given = 0
        while True:
            changed = self._changed
            if given < len(self._lines):
                yield self._lines[given]
                given += 1
            elif self._done:
                return
            else:
                await changed.wait()

    def _add_progress(self, line: bytes) -> None:
        if not self._done and len(self._lines) < MAX_LINES:
            self._lines.append(line)
            self._wake()

    def _end(self, line: bytes) -> None:
        self._lines.append(line)
        self._done = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
