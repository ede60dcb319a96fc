"""What commands show: cells and figures for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from executor.catalog.findings import printable

__all__ = [
    "Format",
    "cell",
    "human_bytes",
    "human_seconds",
    "open_console",
    "show_document",
]

Format = Annotated[Literal["table", "json"], typer.Option("--format", help="How it is shown.")]

WIDE: Final = 250
"""Characters per line where no terminal sets a limit."""
WIDEST: Final = 1000
"""A size as large as this goes to the next unit."""
LONGEST: Final = 120
"""A duration as long as this goes to the next unit."""
ONE_DECIMAL: Final = 100
"""Amounts below this are shown with one decimal."""


def show_document(document: Any, output: Literal["table", "json"], draw: Callable[[int], RenderableType]) -> None:
    """Print a document as JSON, or what is drawn of it in so many characters."""
    if output == "json":
        typer.echo(json.dumps(document, indent=2))
        return
    console = open_console()
    console.print(draw(console.width))


def open_console() -> Console:
    """Make a console on standard output; where that is no terminal, lines are not folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=WIDE, highlight=False)


def cell(value: object, style: str = "") -> Text:
    """Make a cell of a table; `None` is a dash. What plugins have named cannot steer the terminal."""
    return Text("-" if value is None else printable(str(value)), style=style)


def human_bytes(size_bytes: float | None) -> Text:
    """Show a size in binary units, with up to three digits."""
    if size_bytes is None:
        return cell(None)
    amount, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < WIDEST:
            break
        amount, unit = amount / 1024, larger
    return Text(f"{amount:.{_decimals(amount) if unit != 'B' else 0}f} {unit}")


def human_seconds(seconds: float | None) -> Text:
    """Show a duration, from fractions of a millisecond to days, with up to three digits."""
    if seconds is None:
        return cell(None)
    if seconds < 1:
        return Text(f"{seconds * 1000:.{_decimals(seconds * 1000)}f} ms")
    amount, unit = seconds, "s"
    for larger, factor in (("min", 60), ("h", 60), ("d", 24)):
        if amount < LONGEST:
            break
        amount, unit = amount / factor, larger
    return Text(f"{amount:.{_decimals(amount)}f} {unit}")


def _decimals(amount: float) -> int:
    return 1 if amount < ONE_DECIMAL else 0
