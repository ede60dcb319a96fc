"""What authors read: logs of endpoints, exceptions, problems, limits; with colours on a terminal, plain elsewhere.

Nothing that a plugin says can steer the terminal: every line is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from executor.authoring.tracebacks import Frame, Raised, parse_traceback
from executor.authoring.usage import Use, show_amount
from executor.catalog.files import FileError, PluginFiles
from executor.catalog.findings import printable
from executor.config.limits import quantity_of

__all__ = ["Printer"]

LEVEL_STYLES: Final = {"debug": "dim", "info": "", "warning": "yellow", "error": "red", "critical": "bold red"}
AROUND: Final = 2
"""Lines of code that are shown before the one that failed."""

FOREIGN_FRAMES: Final = 3
"""Frames outside of the plugin that are shown, of those nearest to the exception."""


class Printer:
    """Prints for the author of one plugin.

    Args:
        console: Where to.
        folder: The plugin's folder, as its author names it.
        find_root: Tells where the plugin's files were when a worker saw this path; `None` for other paths.
    """

    def __init__(self, console: Console, folder: Path, find_root: Callable[[str], Path | None]) -> None:
        self._console = console
        self._folder = folder
        self._find_root = find_root

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Print a line of parts, each a text or a text with a style."""
        text = Text()
        for part in parts:
            words, style = (part, "") if isinstance(part, str) else part
            text.append(printable(words), style=style)
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def output(self, level: str, source: str, message: str) -> None:
        """Print what an endpoint printed or logged; its tracebacks in our form."""
        if source == "traceback":
            self.traceback(message)
            return
        style = LEVEL_STYLES.get(level, "")
        prefix = "" if level == "info" else f"{level} "
        for line in message.splitlines() or [""]:
            self.line(("  | ", "dim"), (prefix, style), (f"{source}: ", "dim"), (line, style))

    def problems(self, problems: Iterable[str]) -> None:
        """Print what is wrong, a line each."""
        for problem in problems:
            for index, line in enumerate(problem.splitlines()):
                self.line(("error: " if index == 0 else "       ", "bold red"), line)

    def traceback(self, text: str) -> None:
        """Print an exception: what it says, the plugin's own frames, the innermost first, then the others."""
        chain = parse_traceback(text)
        if not chain:
            for line in text.splitlines():
                self.line("  ", (line, "red"))
            return
        for raised in chain:
            self._raised(raised)
            if raised.link:
                self.line((f"  {raised.link}", "dim"))

    def limits(self, uses: Sequence[Use]) -> None:
        """Print what was used of which limit, as a table."""
        rows = [
            (use.name, show_amount(use.name, use.used), quantity_of(use.name).show(use.limit), f"{use.share:.0%}", use)
            for use in uses
        ]
        widths = [max(len(str(row[column])) for row in rows) for column in range(4)]
        for name, used, limit, share, use in rows:
            style = "bold red" if use.share >= 1 else "yellow" if use.near else ""
            self.line(
                f"  {name:<{widths[0]}}  ",
                (f"{used:>{widths[1]}}", style),
                (f" of {limit:>{widths[2]}}  ", "dim"),
                (f"{share:>{widths[3]}}", style),
            )

    def _raised(self, raised: Raised) -> None:
        for line in raised.message.splitlines():
            self.line("  ", (line, "bold red"))
        own = [(frame, root) for frame in reversed(raised.frames) if (root := self._find_root(frame.file)) is not None]
        for index, (frame, root) in enumerate(own):
            self._own_frame(frame, root, around=AROUND if index == 0 else 0)
        others = [frame for frame in reversed(raised.frames) if self._find_root(frame.file) is None]
        for frame in others[:FOREIGN_FRAMES]:
            self.line((f"    {_short(frame.file)}:{frame.line} in {frame.name}", "dim"))
        if len(others) > FOREIGN_FRAMES:
            self.line((f"    and {len(others) - FOREIGN_FRAMES} more outside of the plugin", "dim"))

    def _own_frame(self, frame: Frame, root: Path, *, around: int) -> None:
        inside = frame.file.removeprefix(f"{root}/")
        place = f"{self._folder / inside}:{frame.line}"
        self.line("    ", (place, "cyan"), (f" in {frame.name}" if frame.name else "", "dim"))
        lines = _read_lines(root, inside)
        first = max(frame.line - around, 1)
        shown = lines[first - 1 : frame.line] or ([frame.code] if frame.code else [])
        indent = min((len(line) - len(line.lstrip()) for line in shown if line.strip()), default=0)
        for number, line in enumerate(shown, start=frame.line - len(shown) + 1):
            here = number == frame.line
            self.line((f"      {'>' if here else ' '} {number:>4} ", "dim"), (line[indent:], "" if here else "dim"))


def _short(file: str) -> str:
    """Leave out where libraries are installed."""
    for mark in ("/site-packages/", "/lib/python"):
        if mark in file:
            rest = file.rpartition(mark)[2]
            return rest.partition("/")[2] if mark == "/lib/python" else rest
    return file


def _read_lines(root: Path, inside: str) -> list[str]:
    """Read a source of the plugin, if it is one."""
    try:
        return PluginFiles(root).read(inside).decode("utf-8", "replace").expandtabs(4).splitlines()
    except (FileError, ValueError):
        return []
