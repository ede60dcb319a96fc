"""Draws the figures of one small request as bars, in SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from tests.bench.report import write_number
from tests.bench.results import Results
from tests.bench.statistics import spread
from tests.bench.systems import SYSTEMS

__all__ = ["Scale", "draw_chart"]

PANELS: Final = {"p50_ms": "Time of one small request (p50), ms", "cpu_ms": "Processor time of one small request, ms"}
OURS: Final = "executor"

WIDTH, LEFT, RIGHT = 760, 100, 70
BAR, GAP, HEAD, FOOT = 22, 8, 34, 34
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600}.tick{fill:#666;font-size:11px}"
    "line{stroke:#ddd}.bar{fill:#9aa7b8}.ours{fill:#2a6fdb}.paper{fill:#fff}"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale over whole powers of ten.

    Attributes:
        low: Exponent of its begin.
        high: Exponent of its end.
        length: From begin to end, in the picture.
    """

    low: int
    high: int
    length: float

    @classmethod
    def over(cls, values: list[float], length: float) -> Scale:
        """Make one that all values are within, and the smallest not at its begin, where a bar could not be seen."""
        low = math.floor(math.log10(min(values)))
        if math.log10(min(values)) - low < 0.1:
            low -= 1
        return cls(low, max(low + 1, math.ceil(math.log10(max(values)))), length)

    def place(self, value: float) -> float:
        """Return how far from the begin a value is."""
        return (math.log10(value) - self.low) / (self.high - self.low) * self.length


def draw_chart(results: Results) -> str:
    """Draw both panels, one above the other; systems without figures are left out."""
    body: list[str] = []
    top = 8.0
    for figure, title in PANELS.items():
        found = {name: list(results.values("hello", name, figure).values()) for name in SYSTEMS}
        medians = {name: spread(values).median for name, values in found.items() if values and min(values) > 0}
        if medians:
            body += _draw_panel(title, medians, top)
            top += HEAD + len(medians) * (BAR + GAP) + FOOT
    size = f'width="{WIDTH}" height="{top:.0f}" viewBox="0 0 {WIDTH} {top:.0f}"'
    paper = f'<rect class="paper" width="{WIDTH}" height="{top:.0f}"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{STYLE}</style>'
    return "\n".join([head, paper, *body, "</svg>"]) + "\n"


def _draw_panel(title: str, medians: Mapping[str, float], top: float) -> list[str]:
    scale = Scale.over(list(medians.values()), WIDTH - LEFT - RIGHT)
    bottom = top + HEAD + len(medians) * (BAR + GAP)
    lines = [_text(LEFT, top + 18, f"{title}, logarithmic", "title")]
    for exponent in range(scale.low, scale.high + 1):
        x = LEFT + scale.place(10.0**exponent)
        lines.append(f'<line x1="{x:.1f}" y1="{top + HEAD - 6:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>')
        lines.append(_text(x, bottom + 14, f"{10.0**exponent:g}", "tick", "middle"))
    for number, (name, value) in enumerate(medians.items()):
        y = top + HEAD + number * (BAR + GAP)
        width = scale.place(value)
        kind = "ours" if name == OURS else "bar"
        lines.append(f'<rect class="{kind}" x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{BAR}"/>')
        lines.append(_text(LEFT - 8, y + 16, name, "name", "end"))
        lines.append(_text(LEFT + width + 6, y + 16, write_number(value), "value"))
    return lines


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
