"""Which files of a folder are left out of a package: patterns of `.difyignore`, or else of `.gitignore`.

Patterns are those of git: `*`, `?` and `[...]` within one part of a path, `**` over several parts, a leading slash for
the top folder alone, a trailing one for folders alone, and `!` to take something in again. The last pattern that fits
decides. What is below a folder that is left out is left out too. Dify's own tool knows no `!`.

Source: gitignore(5).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["ALWAYS_LEFT_OUT", "IgnoreRules", "parse_rules"]

MAX_PATTERNS: Final = 1000
MAX_PATTERN: Final = 1024
"""Characters of a pattern."""

ALWAYS_LEFT_OUT: Final = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "__pycache__",
    "node_modules",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".DS_Store",
    ".env",
    "*.difypkg",
)
"""What no package needs, whatever the patterns say. `.env` holds the author's keys for remote debugging."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One pattern: expressions for parts of a path, `None` for `**`."""

    parts: tuple[re.Pattern[str] | None, ...]
    includes: bool
    folders_only: bool


class IgnoreRules:
    """Patterns, in the order of their file."""

    def __init__(self, rules: Sequence[_Rule]) -> None:
        self._rules = tuple(rules)

    def leaves_out(self, parts: Sequence[str], *, folder: bool) -> bool:
        """Tell whether a path is left out; ask about the folders on its way first.

        Args:
            parts: The path relative to the top folder, at least one part.
            folder: Whether it is a folder.
        """
        if any(fnmatch.fnmatchcase(parts[-1], pattern) for pattern in ALWAYS_LEFT_OUT):
            return True
        for rule in reversed(self._rules):
            if (folder or not rule.folders_only) and _matches(rule.parts, parts):
                return not rule.includes
        return False


def parse_rules(text: str) -> IgnoreRules:
    """Read patterns, one on each line; empty lines and lines that start with `#` say nothing.

    Raises:
        ValueError: There are too many patterns, or one is too long.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > MAX_PATTERNS:
        raise ValueError(f"expected at most {MAX_PATTERNS} patterns, found {len(lines)}")
    longest = max(map(len, lines), default=0)
    if longest > MAX_PATTERN:
        raise ValueError(f"expected patterns of at most {MAX_PATTERN} characters, found {longest}")
    return IgnoreRules([rule for line in lines if (rule := _parse_rule(line.strip())) is not None])


def _parse_rule(line: str) -> _Rule | None:
    includes = line.startswith("!")
    line = line[1:] if includes else line
    folders_only = line.endswith("/")
    pattern = line.strip("/")
    if not pattern:
        return None
    anchored = "/" in line.rstrip("/")
    parts = pattern.split("/")
    compiled = [None if part == "**" else re.compile(_translate(part)) for part in parts]
    return _Rule(tuple(compiled if anchored else [None, *compiled]), includes, folders_only)


def _translate(part: str) -> str:
    """Translate a pattern for one part; git's `[^` and backslashes are not known to fnmatch."""
    plain = re.sub(r"\\(.)", lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], part.replace("[^", "[!"))
    return fnmatch.translate(plain)


def _matches(pattern: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Match parts of a path; with `**` at the end there has to be something below."""
    reached = {0}
    for expression in pattern:
        if expression is None:
            reached = set(range(min(reached), len(parts)))
        else:
            reached = {at + 1 for at in reached if at < len(parts) and expression.match(parts[at])}
        if not reached:
            return False
    return len(parts) in reached or (pattern[-1] is None and bool(reached))
