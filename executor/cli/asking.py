"""What `executor ps` and `executor stats` have in common: whom they ask, and showing it once or again and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from executor.cli.showing import open_console
from executor.cli.telling import fail, printable_lines
from executor.config.instance import default_state_dir
from executor.errors import ExecutorError
from executor.figures.client import ask, find_admin_url

__all__ = ["Question", "StateDir", "Url", "Watch", "answer"]

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The admin listener to ask, such as http://127.0.0.1:8081. (default: found by itself)"
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where running executors are looked for. (default: in $XDG_STATE_HOME)"),
]
Watch = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0.1, max=3600, help="Show it again and again, every so many seconds."),
]


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
        fail(str(error), status=error.exit_status)
    try:
        _show(question, document)
    except (KeyError, TypeError, AttributeError):
        fail("the answer is not that of an executor's admin listener")
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _show(question: Question, document: Any) -> None:
    if question.output == "json":
        _show_json(question, document)
        return
    console = open_console()
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
