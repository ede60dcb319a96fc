"""`executor stats`: what the finished invocations have cost."""

from __future__ import annotations

from typing import Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from executor.cli.asking import Question, StateDir, Url, Watch, answer
from executor.cli.showing import Format, cell, human_bytes, human_seconds
from executor.cli.tables import Column, draw_table

__all__ = ["draw_statistics", "register", "stats"]

EXAMPLES = """
Examples:

  executor stats                               figures of the executor that runs here, hook by hook

  executor stats --watch 2                     ... again every two seconds, until Ctrl-C

  executor stats --format json | jq '.hooks[].outcomes'

Counts, CPU and bytes are since the start. P50 to MAX are durations of the last 1024 invocations: half of them took
no longer than P50. CPU is the mean of one invocation, MEMORY the largest peak of one. All that did not end well is
listed below the table. Figures over time, and alerts, are what /metrics is for.
"""

COLUMNS: Final = (
    Column("HOOK", text=True),
    Column("COUNT"),
    Column("OK", needs=90),
    Column("FAILED"),
    Column("P50"),
    Column("P95", needs=100),
    Column("P99"),
    Column("MAX", needs=110),
    Column("CPU"),
    Column("MEMORY"),
    Column("IN", needs=120),
    Column("OUT", needs=120),
)


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("stats", help=about, epilog=EXAMPLES)(stats)


def stats(*, url: Url = None, state_dir: StateDir = None, output: Format = "table", watch: Watch = None) -> None:
    """Ask the admin listener for its statistics and show them."""
    answer(Question(path="/stats", draw=draw_statistics, url=url, state_dir=state_dir, output=output, watch_s=watch))


def draw_statistics(document: Any, width: int) -> RenderableType:
    """Draw the answer of `/stats` in lines of `width` characters."""
    rows = [[cell(hook_id, "cyan"), *_row(figures)] for hook_id, figures in document["hooks"].items()]
    if len(rows) != 1:
        rows.append([cell("all", "bold"), *_row(document["totals"])])
    table = draw_table(COLUMNS, rows, width)
    uptime = human_seconds(document["uptime_s"])
    head = Text(f"endpoint-executor {document['version']}, up for {uptime}", style="dim")
    return Group(table, *_failures(document["hooks"]), head)


def _row(figures: dict[str, Any]) -> list[Text]:
    duration = figures["duration_s"]
    good = figures["outcomes"].get("ok", 0)
    failed = figures["invocations"] - good
    return [
        cell(figures["invocations"]),
        cell(good),
        cell(failed, "red" if failed else ""),
        *(human_seconds(duration[name]) for name in ("p50", "p95", "p99", "max")),
        human_seconds(figures["cpu_s"]["mean"]),
        human_bytes(figures["max_rss_bytes"]),
        human_bytes(figures["bytes_in"]),
        human_bytes(figures["bytes_out"]),
    ]


def _failures(hooks: dict[str, Any]) -> list[Text]:
    """List the outcomes other than `ok`, one line per hook that had any."""
    lines = []
    for hook_id, figures in hooks.items():
        bad = {code: count for code, count in figures["outcomes"].items() if code != "ok"}
        if bad:
            listed = ", ".join(f"{code} {count}" for code, count in sorted(bad.items(), key=lambda item: -item[1]))
            lines.append(Text.assemble(cell(hook_id, "cyan"), ": ", cell(listed, "red")))
    return lines
