"""Draws the list of findings in `docs/declarations.md` from the code: `python -m tests.executor.catalog.tables`.

The example of a code is what is really said about its first mistake in the table of mistakes.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

from executor.catalog.findings import Code, Finding
from executor.catalog.source_check import NEWER_PYTHON
from tests.executor.catalog.mistakes import MISTAKES
from tests.executor.catalog.plugins import load

__all__ = ["DOCUMENT", "draw_findings", "insert_findings"]

DOCUMENT: Final = Path(__file__).parent.parent.parent.parent / "docs" / "declarations.md"
BLOCK: Final = re.compile(r"(<!-- table: findings -->\n).*?(<!-- end -->)", re.DOTALL)


def draw_findings() -> str:
    """Draw a table for each family of codes."""
    families: dict[str, list[Code]] = {}
    for code in Code:
        families.setdefault(code.code.partition(".")[0], []).append(code)
    return "\n".join(_draw_family(name, codes) for name, codes in families.items())


def insert_findings(document: str) -> str:
    """Put the list into the document."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{draw_findings()}\n{found[2]}", document)


def _draw_family(name: str, codes: list[Code]) -> str:
    lines = [f"### {name}", "", "| code | | meaning, and an example |", "| --- | --- | --- |"]
    lines += [f"| `{code.code}` | {code.severity} | {code.meaning}<br>`{_example(code)}` |" for code in codes]
    return "\n".join(lines) + "\n"


def _example(code: Code) -> str:
    mistake = next(mistake for mistake in MISTAKES if mistake.code is code)
    with tempfile.TemporaryDirectory() as folder:
        findings = load(Path(folder) / "plugin", mistake.files).findings
    return _shorten(next(finding for finding in findings if finding.code == code.code))


def _shorten(finding: Finding) -> str:
    """Leave out what depends on the version of Python, and what is in the table already."""
    text = str(finding).removesuffix(f" [{finding.code}]").replace(f": {finding.severity}: ", ": ", 1)
    text = text.removesuffix(f" ({NEWER_PYTHON})")
    return re.sub(r"Python 3\.\d+", "Python 3.x", text).replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(insert_findings(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
