"""One line for each request that is served to an author: what it was, how it ended, what it cost, what it came near."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from executor.authoring.printing import Printer
from executor.authoring.routes import explain_failure
from executor.authoring.usage import Use, near_limits, show_amount, show_use, uses_of
from executor.catalog.findings import shorten
from executor.config.limits import quantity_of
from executor.figures.figures import Figures
from executor.hooks import BoundHook
from executor.http.asgi import Application, Receive, Scope, Send
from executor.outcome import Outcome

__all__ = ["RequestLines"]

LONGEST_TARGET: Final = 100
ID_SHOWN: Final = 4
"""Characters of an invocation's id that tell requests apart that run at the same time."""

SHOWN_ALWAYS: Final = ("memory", "cpu_time")
"""Limits that every line tells of."""


@dataclass(slots=True)
class _Seen:
    """What was seen of one request."""

    method: str
    target: str
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    size: int = 0
    invocation_id: str = ""
    answered: bool = False


class RequestLines:
    """Stands between clients and the gateway, and prints.

    Args:
        printer: Where to.
        hooks: Returns what is served.
        settle: Waits until everything that has changed is served, or refused.
    """

    def __init__(
        self,
        printer: Printer,
        hooks: Callable[[], Mapping[str, BoundHook]],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._printer = printer
        self._hooks = hooks
        self._settle = settle
        self._figures: dict[str, Figures] = {}
        self._tracebacks: dict[str, str] = {}
        self._running = 0

    def finished(self, figures: Figures) -> None:
        """Keep the figures of an invocation for its line."""
        self._figures[figures.invocation_id] = figures

    def keep_traceback(self, invocation_id: str, text: str) -> None:
        """Keep an exception for the lines below the request's own."""
        self._tracebacks[invocation_id] = text

    def mark(self, invocation_id: str) -> str:
        """Return what tells an invocation from others that run now; nothing where it is alone."""
        return f"[{invocation_id[-ID_SHOWN:]}] " if invocation_id and self._running > 1 else ""

    def wrap(self, app: Application) -> Application:
        """Return an application that does what `app` does, and prints a line for each request."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            await self._settle()
            seen = _Seen(scope["method"], _target(scope))

            async def watch(message: MutableMapping[str, Any]) -> None:
                _note(seen, message)
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    end()
                await send(message)

            mark = ""

            def end() -> None:
                nonlocal mark
                if not seen.answered:
                    seen.answered = True
                    mark = self.mark(seen.invocation_id)
                    self._running -= 1

            self._running += 1
            try:
                await app(scope, receive, watch)
            finally:
                end()
                self._print(seen, scope, mark)

        return serve

    def _print(self, seen: _Seen, scope: Scope, mark: str) -> None:
        figures = self._figures.pop(seen.invocation_id, None)
        hook = self._hooks().get(figures.hook_id) if figures is not None else None
        status = seen.status or (figures.status if figures is not None else 0)
        style = "green" if status < 400 else "yellow" if status < 500 else "bold red"  # noqa: PLR2004 - HTTP
        duration = figures.duration_s if figures is not None else time.monotonic() - seen.began
        failed = figures is not None and figures.outcome is not Outcome.OK
        parts: list[str | tuple[str, str]] = [
            (time.strftime("%H:%M:%S "), "dim"),
            (mark, "dim"),
            (f"{seen.method} ", "bold"),
            f"{shorten(seen.target, LONGEST_TARGET)}  ",
            (str(status or "-"), "bold red" if failed and status < 400 else style),  # noqa: PLR2004
            f"  {show_amount('wall_time', duration)}  {_size(seen.size)}",
        ]
        if figures is not None and failed:
            parts.append((f"  {figures.outcome.code}", "yellow" if status < 500 else "bold red"))  # noqa: PLR2004
        if figures is None:
            parts += self._explain(scope)
        elif hook is not None:
            parts += _describe_uses(uses_of(figures, hook.limits), near_limits(figures, hook.limits))
        self._printer.line(*parts)
        traceback = self._tracebacks.pop(seen.invocation_id, "")
        if traceback:
            self._printer.traceback(traceback)
        elif figures is not None and failed and figures.detail:
            self._printer.line("  ", (figures.detail, "red"))

    def _explain(self, scope: Scope) -> list[str | tuple[str, str]]:
        """Say why there was no invocation."""
        hook_id, _, rest = scope["path"].removeprefix("/e/").partition("/")
        hook = self._hooks().get(hook_id)
        if hook is None:
            known = ", ".join(f"/e/{known}/" for known in self._hooks()) or "nothing yet"
            return [("  no hook is there; served is " + known, "yellow")]
        lines = explain_failure(hook.router, hook.plugin.endpoints, scope["method"], f"/{rest}")
        return [(f"  {line}", "yellow") for line in lines[: lines.index("The endpoints are:") if len(lines) > 1 else 1]]


def _describe_uses(uses: tuple[Use, ...], near: tuple[Use, ...]) -> list[str | tuple[str, str]]:
    parts: list[str | tuple[str, str]] = []
    for use in uses:
        if use.name in SHOWN_ALWAYS:
            limit = quantity_of(use.name).show(use.limit)
            name = use.name.removesuffix("_time")
            parts.append((f"  {name} {show_amount(use.name, use.used)} of {limit}", "dim"))
    if near:
        parts.append(("  near: " + ", ".join(show_use(use) for use in near), "bold yellow"))
    return parts


def _note(seen: _Seen, message: MutableMapping[str, Any]) -> None:
    if message["type"] == "http.response.start":
        seen.status = message["status"]
        for name, value in message["headers"]:
            if name == b"x-invocation-id":
                seen.invocation_id = value.decode("latin-1")
    elif message["type"] == "http.response.body":
        seen.size += len(message.get("body", b""))


def _target(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (raw + (b"?" + query if query else b"")).decode("latin-1")


def _size(size: int) -> str:
    return show_amount("response_body", size)
