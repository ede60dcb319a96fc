"""Writes a picture with half blocks: every character is two pixels, one above the other."""

from collections.abc import Iterator
from itertools import groupby

from cat.picture import Colour, Picture

HALF_BLOCK = "▀"


def write_ansi(picture: Picture) -> str:
    """For a terminal with 24-bit colours."""
    lines = []
    for pairs in _pairs(picture):
        line = "".join(
            f"\x1b[38;2;{_numbers(upper)};48;2;{_numbers(lower)}m{HALF_BLOCK * count}"
            for (upper, lower), count in _runs(pairs)
        )
        lines.append(line + "\x1b[0m\n")
    return "".join(lines)


def write_html(picture: Picture) -> str:
    """For a browser."""
    lines = []
    for pairs in _pairs(picture):
        line = "".join(
            f'<b style="color:{_hex(upper)};background:{_hex(lower)}">{HALF_BLOCK * count}</b>'
            for (upper, lower), count in _runs(pairs)
        )
        lines.append(line + "\n")
    return "".join(lines)


def _pairs(picture: Picture) -> Iterator[list[tuple[Colour, Colour]]]:
    for upper, lower in zip(picture[::2], picture[1::2], strict=True):
        yield list(zip(upper, lower, strict=True))


def _runs(pairs: list[tuple[Colour, Colour]]) -> Iterator[tuple[tuple[Colour, Colour], int]]:
    for pair, run in groupby(pairs):
        yield pair, sum(1 for _ in run)


def _numbers(colour: Colour) -> str:
    return ";".join(map(str, colour))


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
