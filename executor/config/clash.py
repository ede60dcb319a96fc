"""What a check of several settings together finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from executor.config.places import KeyPath

__all__ = ["Clash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Settings that do not go together, or are worth a word.

    Attributes:
        path: The way to the setting that is to blame.
        found: What it says.
        expected: What would have been right.
        message: The reason.
        severity: As of a `Problem`.
    """

    path: KeyPath
    found: object
    expected: str
    message: str
    severity: Literal["error", "warning", "note"] = "error"
