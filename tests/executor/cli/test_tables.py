"""Tables of commands."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from executor.cli.showing import cell
from executor.cli.tables import Column, draw_table

COLUMNS = (Column("HOOK", text=True), Column("PLUGIN", text=True, folds=True), Column("COUNT"), Column("AT", needs=60))


def draw(rows: Sequence[Sequence[Text]], width: int, columns: Sequence[Column] = COLUMNS, **options: Any) -> list[str]:
    """Draw a table; its lines."""
    file = io.StringIO()
    console = Console(width=width, file=file, highlight=False, **{"color_system": None, **options})
    console.print(draw_table(columns, rows, width))
    return file.getvalue().splitlines()


def row(hook: str, plugin: str, count: int = 1, at: str = "now") -> list[Text]:
    """Make a row."""
    return [cell(hook), cell(plugin), cell(count), cell(at)]


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    """Text is aligned to the left, figures to the right, and nothing follows the last of a line."""
    assert draw([row("one", "tester/cat"), row("fifteen", "a/b", 1500)], 60) == [
        "HOOK     PLUGIN      COUNT   AT",
        "one      tester/cat      1  now",
        "fifteen  a/b          1500  now",
    ]
    two = [Column("A", text=True), Column("B", text=True)]
    assert draw([[cell("x"), cell("y")], [cell("x"), cell("long")]], 60, two) == ["A  B", "x  y", "x  long"]


def test_wide_characters_take_the_room_that_they_take() -> None:
    """What follows stands in its column."""
    assert draw([row("猫", "x"), row("neko", "y")], 40) == [
        "HOOK  PLUGIN  COUNT",
        "猫    x           1",
        "neko  y           1",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    """And one without names has none."""
    assert draw([], 40) == ["HOOK  PLUGIN  COUNT"]
    assert draw([[cell("a"), cell("b")]], 40, [Column("", text=True), Column("", text=True)]) == ["a  b"]
    assert draw([], 40, [Column("")]) == []


def test_what_has_no_room_goes_on_in_the_next_line() -> None:
    """Columns that may fold make place; nothing is cut."""
    assert draw([row("4fxhq2d1", "tester/a-very-long-name"), row("one", "a/b")], 33) == [
        "HOOK      PLUGIN            COUNT",
        "4fxhq2d1  tester/a-very-lo      1",
        "          ng-name",
        "one       a/b                   1",
    ]
    words = [Column("A", text=True), Column("B", text=True, folds=True)]
    assert draw([[cell("x"), cell("some words that fold")]], 15, words) == ["A  B", "x  some words", "   that fold"]


@pytest.mark.parametrize("width", [5, 12, 20, 30, 59, 60, 100])
def test_nothing_is_lost_and_no_line_is_too_long(width: int) -> None:
    """However narrow a terminal is."""
    lines = draw([row("4fahq2d1m9ab7cde", "tester/cat"), row("x" * 40, "y" * 30)], width)
    assert all(len(line) <= width for line in lines)
    assert sum(line.count("x") for line in lines) == 40
    assert sum(line.count("y") for line in lines) == 30


def test_styles_are_shown_in_a_terminal() -> None:
    """Those of cells and those within them; and not what stands between."""
    cells = [[cell("one", "cyan"), Text.assemble(("a", "red"), "/b")], [cell("fifteen"), cell("c/d")]]
    lines = draw(cells, 60, COLUMNS[:2], force_terminal=True, color_system="standard")
    assert lines[0] == "\x1b[1mHOOK\x1b[0m     \x1b[1mPLUGIN\x1b[0m"
    assert lines[1] == "\x1b[36mone\x1b[0m      \x1b[31ma\x1b[0m/b"
    assert lines[2] == "fifteen  c/d"


def test_rows_that_fit_are_not_laid_out_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes most of a minute for a hundred thousand of them."""
    laid_out: list[str] = []
    wrap = Text.wrap

    def note(text: Text, *arguments: Any, **options: Any) -> Any:
        laid_out.append(text.plain)
        return wrap(text, *arguments, **options)

    monkeypatch.setattr(Text, "wrap", note)
    rows = [row("one", "a/b"), row("two", "tester/a-very-long-name"), row("three", "a/b")]
    assert len(draw(rows, 60)) == 4
    assert laid_out == []
    assert len(draw(rows, 28)) == 5
    assert "two" in laid_out
    assert "one" not in laid_out
