"""Results as a page: the machine, the ratios that matter, and all figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.cases import CASES, FIGURES
from tests.bench.results import Results
from tests.bench.sdk import ROOT
from tests.bench.statistics import Spread, ratios, spread
from tests.bench.systems import SYSTEMS

__all__ = ["CHART", "DOCUMENT", "RATIOS", "Ratio", "draw_report", "insert_report", "write_number", "write_spread"]

DOCUMENT: Final = ROOT / "docs" / "performance.md"
CHART: Final = ROOT / "docs" / "performance.svg"
BLOCK: Final = re.compile(r"(<!-- table: performance -->\n).*?(<!-- end -->)", re.DOTALL)
NONE: Final = "-"

ROUNDS_LEAST: Final = 3
SECONDS_LEAST: Final = 2.0
TOO_SHORT: Final = (
    "\n**This was a short run, to see that everything works: nothing can be concluded from its figures.**\n"
)

Key = tuple[str, str, str]
"""Names of a case, a system and a figure."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two figures, of which one is divided by the other.

    Attributes:
        meaning: For people.
        over: What is divided.
        under: By what.
    """

    meaning: str
    over: Key
    under: Key


def _within(meaning: str, case: str, over: str, under: str) -> Ratio:
    """Two figures of one case, ours."""
    return Ratio(meaning, (case, "executor", over), (case, "executor", under))


RATIOS: Final = (
    Ratio("CPU per W1 / that of the fork floor", ("hello", "executor", "cpu_ms"), ("hello", "fork", "cpu_ms")),
    Ratio("p50 of W1 / that in process", ("hello", "executor", "p50_ms"), ("hello", "in-process", "p50_ms")),
    Ratio("p50 of W1 / that of a fresh interpreter", ("hello", "executor", "p50_ms"), ("hello", "fresh", "p50_ms")),
    Ratio("p50 of W1 / that under bubblewrap", ("hello", "executor", "p50_ms"), ("hello", "bwrap", "p50_ms")),
    _within("p99 / p50 of W1 at half load", "hello-half", "p99_ms", "p50_ms"),
    Ratio("rate of W1, 16 clients / the SDK's", ("hello-16", "executor", "rate"), ("hello-16", "sdk", "rate")),
    Ratio("rate of W2 / the SDK's", ("stream-8", "executor", "rate"), ("stream-8", "sdk", "rate")),
    _within(
        "CPU per W1 of a plugin that imports httpx / of one that does not", "imports", "importing_cpu_ms", "bare_cpu_ms"
    ),
    _within("CPU per W1 with 200 in flight / with 1", "flights", "cpu_200_ms", "cpu_1_ms"),
    _within("p50 with many plugins / with one", "plugins", "many_p50_ms", "one_p50_ms"),
    _within("CPU with many plugins / with one", "plugins", "many_cpu_ms", "one_cpu_ms"),
    _within("p50 with many hooks / with one", "hooks", "many_p50_ms", "one_p50_ms"),
    _within("CPU with many hooks / with one", "hooks", "many_cpu_ms", "one_cpu_ms"),
    _within("p50, last 1000 / first 1000", "long", "last_p50_ms", "first_p50_ms"),
    _within("CPU, last 1000 / first 1000", "long", "last_cpu_ms", "first_cpu_ms"),
    _within("cold first request with Dify's SDK / its import by itself", "cold-sdk", "cold_ms", "import_ms"),
    _within("the same with a warm sibling", "cold-sdk", "sibling_ms", "import_ms"),
)


def write_number(value: float) -> str:
    """Write a figure with three digits that count, and without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def write_spread(values: Spread) -> str:
    """Write the median, and the range where there is one."""
    median = write_number(values.median)
    return median if values.count == 1 else f"{median} ({write_number(values.least)}..{write_number(values.most)})"


def draw_report(results: Results) -> str:
    """Draw what goes between the marks of the page."""
    parts = [
        _draw_machine(results),
        _draw_ratios(results),
        f"![{_chart_text()}]({CHART.name})\n",
        _draw_figures(results),
    ]
    if results.skipped:
        parts.append("Left out:\n\n" + "".join(f"- `{name}`: {why}\n" for name, why in results.skipped.items()))
    if results.failures:
        parts.append("Failed:\n\n" + "".join(f"- {text}\n" for text in results.failures))
    return "\n".join(parts)


def insert_report(document: str, report: str) -> str:
    """Put a report into the page.

    Raises:
        ValueError: The page has no place for it, or several.
    """
    text, count = BLOCK.subn(lambda found: f"{found[1]}{report}{found[2]}", document)
    if count != 1:
        raise ValueError(f"{count} places for the figures")
    return text


def write_page(results: Results, chart: str, page: Path = DOCUMENT, picture: Path = CHART) -> None:
    """Update the page and its picture."""
    page.write_text(insert_report(page.read_text(encoding="utf-8"), draw_report(results)), encoding="utf-8")
    picture.write_text(chart, encoding="utf-8")


def _chart_text() -> str:
    return "Time and processor time of one small request, for every system, on a logarithmic scale"


def _draw_machine(results: Results) -> str:
    facts = [f"{name}: {value}" for name, value in results.machine.items()]
    options = results.options
    facts.append(f"rounds: {options.get('rounds')} of {options.get('seconds')} s")
    line = f"Measured on this machine: {'; '.join(facts)}.\n"
    return line + TOO_SHORT if _is_short(results) else line


def _is_short(results: Results) -> bool:
    rounds = {one.round for one in results.measurements}
    return len(rounds) < ROUNDS_LEAST or float(str(results.options.get("seconds", 0))) < SECONDS_LEAST


def _draw_ratios(results: Results) -> str:
    lines = ["| ratio | median (least..most of the rounds) |", "| --- | --- |"]
    for ratio in RATIOS:
        found = ratios(results.values(*ratio.over), results.values(*ratio.under))
        lines.append(f"| {ratio.meaning} | {write_spread(spread(found)) if found else NONE} |")
    for case, meaning in (("memory", ""), ("cold-sdk", " with Dify's SDK")):
        spare = results.values(case, "executor", "spare_mib").values()
        lines.append(f"| PSS of a spare worker{meaning}, MiB | {write_spread(spread(spare)) if spare else NONE} |")
    return "\n".join(lines) + "\n"


def _draw_figures(results: Results) -> str:
    lines = [f"| case | figure | {' | '.join(f'`{name}`' for name in SYSTEMS)} |", f"|{' --- |' * (2 + len(SYSTEMS))}"]
    for case in CASES:
        for figure, unit in FIGURES.items():
            found = {name: list(results.values(case, name, figure).values()) for name in SYSTEMS}
            if any(found.values()):
                cells = [write_spread(spread(values)) if values else NONE for values in found.values()]
                lines.append(f"| `{case}` | {unit} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
