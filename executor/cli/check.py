"""`executor check`: find every mistake in plugins' declarations; with `--load`, also what only an import shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from executor.catalog.findings import Finding, has_errors, printable, shorten
from executor.catalog.plugin import Loaded, Plugin, load_plugin
from executor.cli.telling import printable_lines
from executor.errors import number_of

if TYPE_CHECKING:
    from executor.environments.errors import BuildError

__all__ = ["Checked", "check", "describe_errors", "register", "render_json"]

EXAMPLES = """
Examples:

  executor check my_plugin                 one plugin folder

  executor check plugins/*                 several

  executor check my_plugin --load          also import its endpoints, each in a worker of its own

  executor check my_plugin --format json | jq -r '.plugins[].findings[].message'

  executor check my_plugin --format json | jq -r '.plugins[].routes[] | [.method, .path] | @tsv'

Every mistake is told at once, each with its file, line and column. Nothing of the plugin is run, unless --load is
given. Errors keep a plugin from being served; warnings tell what Dify would refuse or do differently. Ends with 0 when
there are no errors, with 1 when there are, with 2 when the command itself is wrong. docs/declarations.md explains every
code.
"""

STYLES: Final = {"error": "bold red", "warning": "yellow"}

LOAD_CODE: Final = "source.load"
ENVIRONMENT_CODE: Final = "environment.build"
"""The code of what `--load` finds; the others are in `executor.catalog.findings`."""

Format = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A plugin and what was found in it."""

    path: Path
    loaded: Loaded


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("check", help=about, epilog=EXAMPLES)(check)


def check(
    plugins: Annotated[
        list[Path], typer.Argument(metavar="PLUGIN", help="Plugin folders, with a manifest.yaml.", show_default=False)
    ],
    *,
    output: Annotated[Format, typer.Option("--format", help="How findings are written.")] = "text",
    load: Annotated[
        bool, typer.Option("--load", help="Run the plugin's code: import every endpoint in a real worker.")
    ] = False,
) -> None:
    """Check plugins and tell what is wrong with them."""
    from executor.config.environments import EnvironmentSettings
    from executor.environments.choice import find_python

    settings = EnvironmentSettings()
    checked = [Checked(path, load_plugin(path, python=find_python(path, settings))) for path in plugins]
    if load:
        checked = [Checked(plugin.path, _try(plugin.loaded)) for plugin in checked]
    if output == "json":
        typer.echo(json.dumps(render_json(checked), indent=2))
    else:
        _print_text(checked)
    if any(has_errors(plugin.loaded.findings) for plugin in checked):
        raise typer.Exit(1)


def _try(loaded: Loaded) -> Loaded:
    """Add what only importing the sources shows; a plugin that has errors anyway is not run."""
    from executor.environments.errors import BuildError
    from executor.figures.log import configure_logging
    from executor.supervisor.trial import try_sources

    plugin = loaded.plugin
    if plugin is None:
        return loaded
    configure_logging(level="error")
    try:
        plugin = _with_environment(plugin)
    except BuildError as error:
        return Loaded(plugin=None, findings=(*loaded.findings, _no_environment(plugin, error)))
    failed = tuple(
        Finding(
            severity="error",
            code=LOAD_CODE,
            file=Path(source),
            line=None,
            column=None,
            found=shorten(problem),
            expected="a source that can be imported and has exactly one endpoint",
            message=printable(problem.removeprefix(f"{source}: ")),
        )
        for source, problem in try_sources(plugin).items()
    )
    return Loaded(plugin=None if failed else loaded.plugin, findings=(*loaded.findings, *failed))


def _with_environment(plugin: Plugin) -> Plugin:
    """Have the environment that `executor serve` would give a plugin."""
    from executor.config.model import Config
    from executor.environments.choice import wants_own
    from executor.environments.provide import build_alone

    if not wants_own(plugin.root, None, None):
        return plugin
    return build_alone(plugin, Config(), lambda line: typer.echo(f"{plugin.name}: {line}", err=True))


def _no_environment(plugin: Plugin, error: BuildError) -> Finding:
    names = [name for name in ("pyproject.toml", "requirements.txt") if (plugin.root / name).exists()]
    return Finding(
        severity="error",
        code=ENVIRONMENT_CODE,
        file=Path(names[0] if names else "requirements.txt"),
        line=None,
        column=None,
        found=shorten(error.message),
        expected="requirements that can be installed",
        message=printable_lines(str(error)),
    )


def render_json(checked: Iterable[Checked]) -> dict[str, Any]:
    """Describe what was found as plain data.

    Returns:
        `errors` and `warnings`, numbers of findings in all; `plugins`, a list of maps with `path` as it was given,
        `name`, `version`, `endpoints` (a number) and `routes` (a list of maps with `method` and `path`, as declared),
        all four null when there are errors, and `findings`, a list of maps with `severity`, `code`, `file` (relative
        to the plugin), `line` and `column` (from 1, or null), `found`, `expected` and `message`. Keys may be added in
        later versions.
    """
    plugins = [_describe(plugin) for plugin in checked]
    counts = Counter(finding["severity"] for plugin in plugins for finding in plugin["findings"])
    return {"errors": counts["error"], "warnings": counts["warning"], "plugins": plugins}


def _describe(checked: Checked) -> dict[str, Any]:
    plugin = checked.loaded.plugin
    return {
        "path": str(checked.path),
        "name": plugin.name if plugin else None,
        "version": plugin.version if plugin else None,
        "endpoints": len(plugin.endpoints) if plugin else None,
        "routes": [{"method": one.method, "path": one.path} for one in plugin.endpoints] if plugin else None,
        "findings": [
            {
                "severity": finding.severity,
                "code": finding.code,
                "file": finding.file.as_posix(),
                "line": finding.line,
                "column": finding.column,
                "found": finding.found,
                "expected": finding.expected,
                "message": finding.message,
            }
            for finding in checked.loaded.findings
        ],
    }


def _print_text(checked: Sequence[Checked]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for plugin in checked:
        for finding in plugin.loaded.findings:
            console.print(
                Text.assemble(
                    (f"{_place(plugin.path, finding)}: ", "bold"),
                    (f"{finding.severity}: ", STYLES[finding.severity]),
                    finding.message,
                    (f" [{finding.code}]", "dim"),
                )
            )
    console.print(Text(_summarise(checked)))


def describe_errors(root: Path, findings: Iterable[Finding]) -> list[str]:
    """Describe what keeps a plugin from being served, a line each, as compilers do."""
    return [
        f"{_place(root, finding)}: {finding.message} [{finding.code}]"
        for finding in findings
        if finding.severity == "error"
    ]


def _place(root: Path, finding: Finding) -> str:
    file = printable(str(root / finding.file))
    return ":".join(str(part) for part in (file, finding.line, finding.column) if part is not None)


def _summarise(checked: Sequence[Checked]) -> str:
    counts = Counter(finding.severity for plugin in checked for finding in plugin.loaded.findings)
    endpoints = sum(len(plugin.loaded.plugin.endpoints) for plugin in checked if plugin.loaded.plugin)
    ready = sum(1 for plugin in checked if plugin.loaded.plugin)
    found = ", ".join(number_of(counts[kind], kind) for kind in ("error", "warning") if counts[kind]) or "nothing wrong"
    good = f"{ready} of {len(checked)}" if ready < len(checked) else "all" if len(checked) > 1 else "it"
    plugins = number_of(len(checked), "plugin")
    return f"{plugins} checked: {found}; {good} can be served, with {number_of(endpoints, 'endpoint')}"
