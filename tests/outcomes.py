"""Draws the table of outcomes in `docs/behaviour.md` from the code: `python -m tests.outcomes` puts it in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from executor.outcome import Outcome

__all__ = ["DOCUMENT", "insert_outcomes"]

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "behaviour.md"
BLOCK: Final = re.compile(r"(<!-- table: outcomes -->\n).*?(<!-- end -->)", re.DOTALL)


def draw_outcomes() -> str:
    """Draw the table: a row for each outcome."""
    lines = ["| code | status | retryable | meaning |", "| --- | --- | --- | --- |"]
    for outcome in Outcome:
        retryable = "yes" if outcome.retryable else ""
        status = "the endpoint's" if outcome is Outcome.OK else outcome.status
        lines.append(f"| `{outcome.code}` | {status} | {retryable} | {outcome.title} |")
    return "\n".join(lines) + "\n"


def insert_outcomes(document: str) -> str:
    """Put the table into the document.

    Raises:
        ValueError: The document has no place for it, or several.
    """
    text, count = BLOCK.subn(lambda found: f"{found[1]}{draw_outcomes()}{found[2]}", document)
    if count != 1:
        raise ValueError(f"{count} places for the table of outcomes")
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(insert_outcomes(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
