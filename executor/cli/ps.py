"""`executor ps`: what the live workers are doing."""

from __future__ import annotations

from typing import Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from executor.cli.asking import Question, StateDir, Url, Watch, answer
from executor.cli.showing import Format, cell, human_bytes, human_seconds
from executor.cli.tables import Column, draw_table
from executor.errors import number_of

__all__ = ["draw_workers", "ps", "register"]

EXAMPLES = """
Examples:

  executor ps                                  the workers of the executor that runs here

  executor ps --watch 1                        ... again every second, until Ctrl-C

  executor ps --url http://127.0.0.1:9001      of the one with this admin listener

  executor ps --format json | jq '.workers[] | select(.age_s > 60) | .invocation_id'

Every request has a worker process of its own. CPU is the time that it has used so far, and its share of one
processor; MEMORY is its resident set; CHILDREN counts the processes that it has started. Narrow terminals show fewer
columns.
"""

COLUMNS: Final = (
    Column("PID"),
    Column("HOOK", text=True),
    Column("METHOD", text=True),
    Column("RULE", text=True, folds=True),
    Column("STATE", text=True, needs=90),
    Column("AGE"),
    Column("CPU"),
    Column("%", needs=100),
    Column("MEMORY"),
    Column("THREADS", needs=160),
    Column("CHILDREN", needs=160),
    Column("IN", needs=100),
    Column("OUT", needs=80),
    Column("INVOCATION", text=True, needs=140),
)


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("ps", help=about, epilog=EXAMPLES)(ps)


def ps(*, url: Url = None, state_dir: StateDir = None, output: Format = "table", watch: Watch = None) -> None:
    """Ask the admin listener for its live workers and show them."""
    answer(Question(path="/workers", draw=draw_workers, url=url, state_dir=state_dir, output=output, watch_s=watch))


def draw_workers(document: Any, width: int) -> RenderableType:
    """Draw the answer of `/workers` in lines of `width` characters."""
    summary = Text(_summary(document), style="dim")
    if not document["workers"]:
        return summary
    return Group(draw_table(COLUMNS, [_row(worker) for worker in document["workers"]], width), summary)


def _row(worker: dict[str, Any]) -> list[Text]:
    return [
        cell(worker["pid"]),
        cell(worker["hook_id"], "cyan"),
        cell(worker["method"]),
        cell(worker["rule"]),
        cell(worker["state"]),
        human_seconds(worker["age_s"]),
        human_seconds(worker["cpu_s"]),
        cell(worker["cpu_percent"]),
        human_bytes(worker["rss_bytes"]),
        cell(worker["threads"]),
        cell(worker["descendants"]),
        human_bytes(worker["bytes_in"]),
        human_bytes(worker["bytes_out"]),
        cell(worker["invocation_id"], "dim"),
    ]


def _summary(document: dict[str, Any]) -> str:
    text = f"{number_of(len(document['workers']), 'live worker')}, {document['queued']} waiting"
    return f"{text}; the executor is shutting down" if document["draining"] else text
