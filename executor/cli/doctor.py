"""`executor doctor`: what isolation this host gives to workers, and what to do about what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from executor.cli.opening import read_sections
from executor.cli.telling import tell_errors
from executor.config.limits import Limits
from executor.isolation.enforcement import enforcement

__all__ = ["doctor", "register", "render_json"]

EXAMPLES = """
Examples:

  executor doctor                        try every layer of isolation in a real worker, and show what it saw

  executor doctor --config FILE          ... with the layers that a configuration requires or switches off

  executor doctor --format json | jq -r '.layers[] | select(.state != "on") | [.name, .remedy] | @tsv'

Nothing is remembered and nothing guessed: a worker is started and looks at itself. Ends with 0 when `executor serve`
would start with this isolation, with 1 when it would refuse to.
"""

STYLES: Final = {"on": "green", "off": "bold yellow", "missing": "bold red"}
BOUNDED: Final = (
    "memory",
    "processes",
    "cpu_time",
    "cpu_share",
    "open_files",
    "scratch_size",
    "scratch_files",
    "file_size",
)
"""Limits whose enforcement depends on the host."""


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("doctor", help=about, epilog=EXAMPLES)(doctor)


def doctor(
    *,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (YAML).")] = None,
    output: Annotated[Literal["text", "json"], typer.Option("--format", help="How it is written.")] = "text",
) -> None:
    """Try every layer and tell what holds."""
    with tell_errors():
        settings = read_sections(config, None).isolation
    from executor.figures.log import configure_logging
    from executor.supervisor.doctor import examine  # starts processes; `--help` does not need it

    configure_logging(level="error")
    examination = examine(settings)
    if output == "json":
        typer.echo(json.dumps(render_json(examination), indent=2))
    else:
        _print_text(examination)
    if not examination.healthy:
        raise typer.Exit(1)


def render_json(examination: Any) -> dict[str, Any]:
    """Describe what was found as plain data.

    Returns:
        `healthy` (whether the service would start), `failure`, `control_groups` (`version`, `controllers`, `place`),
        `layers` (list of maps with `name`, `state`: on, off or missing, `required`, `evidence`, `remedy`) and
        `limits` (what enforces each, by name). Keys may be added in later versions.
    """
    return {
        "healthy": examination.healthy,
        "failure": examination.failure,
        "control_groups": {
            "version": examination.groups,
            "controllers": sorted(examination.controllers),
            "place": examination.place,
        },
        "layers": [asdict(layer) for layer in examination.layers],
        "limits": {name: _enforced(examination, name) for name in Limits.model_fields},
    }


def _enforced(examination: Any, name: str) -> str:
    on = {layer.name for layer in examination.layers if layer.state == "on"}
    groups = examination.groups if "control_groups" in on else None
    return enforcement(name, groups, examination.controllers, resource_limits="resource_limits" in on)


def _print_text(examination: Any) -> None:
    from rich.text import Text

    from executor.cli.showing import cell, open_console
    from executor.cli.tables import Column, draw_table

    console = open_console()
    layers = [
        (
            cell(layer.name),
            cell(layer.state, STYLES[layer.state]),
            cell("yes" if layer.required else "no"),
            cell(layer.evidence),
        )
        for layer in examination.layers
    ]
    names = ("LAYER", "STATE", "REQUIRED", "WHAT A WORKER SEES")
    columns = [Column(name, text=True, folds=name == names[-1]) for name in names]
    console.print(draw_table(columns, layers, console.width))
    console.print()
    limits = [(cell(name), cell(_enforced(examination, name))) for name in BOUNDED]
    columns = [Column("LIMIT", text=True), Column("ENFORCED BY", text=True, folds=True)]
    console.print(draw_table(columns, limits, console.width))
    console.print()
    groups = f"control groups: {examination.groups or 'none'} ({examination.place})"
    console.print(Text(groups), soft_wrap=True)
    for layer in examination.layers:
        if layer.remedy:
            console.print(Text(f"{layer.name}: {layer.remedy}", "yellow"), soft_wrap=True)
    _print_verdict(console, examination)


def _print_verdict(console: Any, examination: Any) -> None:
    from rich.text import Text

    refused = [layer.name for layer in examination.layers if layer.refused]
    if examination.failure:
        console.print(Text(f"no worker could be started: {examination.failure}", "bold red"), soft_wrap=True)
    elif refused:
        text = f"executor serve would refuse to start: {', '.join(refused)} required and not there"
        console.print(Text(text, "bold red"), soft_wrap=True)
    else:
        console.print(Text("executor serve would start: every required layer holds", "green"), soft_wrap=True)
