"""Tables: columns of text and figures, as wide as what is in them, and no wider than the terminal.

Rich draws tables, too, with more in them; it measures and renders each cell several times, which is half a minute for a
hundred thousand hooks. Here a row whose cells fit is joined as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import le
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

__all__ = ["Column", "Table", "draw_table"]

GAP: Final = "  "
"""Between two columns."""
NARROW: Final = 12
"""Columns that fold are not made narrower than this while others can be."""
HEAD: Final = "bold"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its head.
        needs: Characters that a line must have for this column to be shown.
        text: Whether it holds text, aligned to the left, and not figures.
        folds: Whether it is narrowed first where there is no room. What does not fit goes on in further lines.
    """

    name: str
    needs: int = 0
    text: bool = False
    folds: bool = False


def draw_table(columns: Sequence[Column], rows: Iterable[Sequence[Text]], width: int) -> Table:
    """Make a table of those columns for which there is room."""
    shown = [index for index, column in enumerate(columns) if width >= column.needs]
    return Table([columns[index] for index in shown], [[row[index] for index in shown] for row in rows])


class Table:
    """A table, for rich to print.

    Args:
        columns: All are shown; where none has a name, there is no head.
        rows: A cell for each column.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it in lines of at most `options.max_width` characters."""
        head = [Text(column.name, HEAD) for column in self._columns]
        rows = [head, *self._rows] if any(column.name for column in self._columns) else self._rows
        sizes = [[cell_len(text.plain) for text in row] for row in rows]
        widths = self._fit([max(column) for column in zip(*sizes, strict=True)], options.max_width)
        for row, lengths in zip(rows, sizes, strict=True):
            if all(map(le, lengths, widths)):
                yield from self._join(console, row, lengths, widths)
                continue
            cells = [text.wrap(console, width, overflow="fold") for text, width in zip(row, widths, strict=True)]
            for line in zip_longest(*cells, fillvalue=Text()):
                yield from self._join(console, line, [cell_len(text.plain) for text in line], widths)

    def _fit(self, natural: Sequence[int], room: int) -> Sequence[int]:
        """Take width from the widest columns until all fit, first from those that fold."""
        widths = list(natural)
        room -= len(GAP) * (len(widths) - 1)
        folding = [index for index, column in enumerate(self._columns) if column.folds]
        for chosen, least in ((folding, NARROW), (range(len(widths)), 1)):
            widest = max((widths[index] for index in chosen), default=0)
            for cap in range(widest - 1, least - 1, -1):
                if sum(widths) <= room:
                    break
                for index in chosen:
                    widths[index] = min(widths[index], cap)
        return widths

    def _join(
        self, console: Console, row: Sequence[Text], lengths: Sequence[int], widths: Sequence[int]
    ) -> Iterator[Segment]:
        """Draw a line of cells that fit; no spaces follow the last of them."""
        gap, pending = "", ""
        for text, column, length, width in zip(row, self._columns, lengths, widths, strict=True):
            padding = " " * (width - length)
            pending += gap if column.text else gap + padding
            if text.style or text.spans:
                yield Segment(pending)
                yield from Segment.apply_style(text.render(console), console.get_style(text.style))
                pending = ""
            else:
                pending += text.plain
            gap = GAP + padding if column.text else GAP
        yield Segment(pending.rstrip(" ") + "\n")
