"""What `executor ps` and `executor stats` have in common: options; a table or JSON, once or again and again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from executor.catalog.findings import printable
from executor.config.instance import default_state_dir
from executor.errors import ExecutorError
from executor.figures.client import ask, find_admin_url

__all__ = [
    "Column",
    "Format",
    "Question",
    "StateDir",
    "Url",
    "Watch",
    "answer",
    "cell",
    "draw_table",
    "human_bytes",
    "human_seconds",
    "printable_lines",
]

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The admin listener to ask, such as http://127.0.0.1:8081.  (default: found by itself)"
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where running executors are looked for.  (default: in $XDG_STATE_HOME)"),
]
Format = Annotated[Literal["table", "json"], typer.Option("--format", help="How it is shown.")]
Watch = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.1, max=3600, help="Show it again and again, every so many seconds."),
]

WIDE: Final = 250
"""Characters per line where no terminal sets a limit."""
WIDEST: Final = 1000
"""A size as large as this goes to the next unit."""
LONGEST: Final = 120
"""A duration as long as this goes to the next unit."""
ONE_DECIMAL: Final = 100
"""Amounts below this are shown with one decimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask, whom, and how to show the answer.

    Attributes:
        path: Address on the admin listener.
        draw: Makes a picture of the answer that fits into so many characters.
        url: The admin listener; `None` to look for it.
        state_dir: Where to look; `None` for the default.
        output: `table` or `json`.
        watch_s: Seconds between two times; `None` for one time only.
    """

    path: str
    draw: Callable[[Any, int], RenderableType]
    url: str | None
    state_dir: Path | None
    output: Literal["table", "json"]
    watch_s: float | None

    def ask(self) -> Any:
        """Get the answer.

        Raises:
            AskError: There is none.
        """
        return ask(find_admin_url(self.url, self.state_dir or default_state_dir()), self.path)


def answer(question: Question) -> None:
    """Show the answer to a question; end the command with status 1 when there is none."""
    try:
        document = question.ask()
    except ExecutorError as error:
        print(f"error: {printable_lines(str(error))}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from None
    try:
        _show(question, document)
    except (KeyError, TypeError, AttributeError) as error:
        print("error: the answer is not that of an executor's admin listener", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _show(question: Question, document: Any) -> None:
    if question.output == "json":
        _show_json(question, document)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)  # what reads it does not fold lines
    if question.watch_s is None or not console.is_terminal:
        console.print(question.draw(document, console.width))
        while question.watch_s is not None:
            sleep(question.watch_s)
            console.print(_redraw(question, console.width))
        return
    with Live(question.draw(document, console.width), console=console, auto_refresh=False) as live:
        while True:
            sleep(question.watch_s)
            live.update(_redraw(question, console.width), refresh=True)


def _redraw(question: Question, width: int) -> RenderableType:
    """Ask again; an executor that is being restarted is waited for."""
    try:
        return question.draw(question.ask(), width)
    except ExecutorError as error:
        return Text(printable_lines(str(error)), style="red")


def _show_json(question: Question, document: Any) -> None:
    """Print one document, indented, or one document per line."""
    if question.watch_s is None:
        typer.echo(json.dumps(document, indent=2))
        return
    while True:
        typer.echo(json.dumps(document))
        sleep(question.watch_s)
        try:
            document = question.ask()
        except ExecutorError as error:
            document = {"error": str(error)}


def printable_lines(text: str) -> str:
    """Escape what a terminal might take for a command, line by line."""
    return "\n".join(printable(line) for line in text.splitlines())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its head.
        needs: Characters that a line must have for this column to be shown.
        text: Whether it holds text, aligned to the left, and not figures.
        folds: Whether long values may be cut.
    """

    name: str
    needs: int = 0
    text: bool = False
    folds: bool = False


def draw_table(columns: Sequence[Column], rows: Iterable[Sequence[Text]], width: int) -> Table:
    """Make a table of those columns for which there is room."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [index for index, column in enumerate(columns) if width >= column.needs]
    for index in shown:
        column = columns[index]
        table.add_column(column.name, justify="left" if column.text else "right", no_wrap=not column.folds)
    for row in rows:
        table.add_row(*(row[index] for index in shown))
    return table


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
