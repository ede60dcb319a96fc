"""The table of docs/compatibility.md, between its two marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.compat.samples import Sample

__all__ = ["PAGE", "Result", "render", "write"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN: Final = "<!-- made by `make compat` -->\n"
END: Final = "<!-- end -->\n"


@dataclass
class Result:
    """What came of comparing one plugin.

    Attributes:
        sample: Which.
        sdk: Version of its SDK.
        python: Version of Python it ran with.
        asked: Requests that were compared.
        same: Those of them whose answers were alike.
        calls: Reverse calls that were made on our side.
        notes: How the others differ.
        problem: Why nothing was compared.
    """

    sample: Sample
    sdk: str = ""
    python: str = ""
    asked: int = 0
    same: int = 0
    calls: int = 0
    notes: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def works(self) -> bool:
        """Whether every answer was like that of the SDK."""
        return not self.problem and self.same == self.asked


def render(results: Sequence[Result]) -> str:
    """Write the table."""
    rows = [
        "| plugin | SDK, Python | requests alike | calls | differences |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in results:
        sample = result.sample
        link = f"https://github.com/{sample.repository}/tree/{sample.commit}/{sample.folder}".rstrip("/")
        notes = result.problem or "; ".join(result.notes) or "none"
        alike = f"{result.same} of {result.asked}"
        notes = notes.replace("|", "\\|").replace("\n", " ")
        versions = f"{result.sdk}, {result.python}" if result.sdk else "-"
        rows.append(f"| [{sample.name}]({link}) | {versions} | {alike} | {result.calls} | {notes} |")
    good = sum(result.works for result in results)
    return "\n".join([f"{good} of {len(results)} plugins answer every request as with the SDK.", "", *rows, ""])


def write(results: Sequence[Result], page: Path = PAGE) -> None:
    """Put the table into the page.

    Raises:
        ValueError: The page has no place for it.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for the table: {BEGIN.strip()} and {END.strip()}")
    page.write_text(f"{before}{begin}\n{render(results)}\n{end}{after}", encoding="utf-8")
