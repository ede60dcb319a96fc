"""stub."""

from __future__ import annotations

from executor.catalog.cursor import Cursor
from executor.catalog.files import PluginFiles
from executor.catalog.findings import Findings

__all__ = ["check_source"]


def check_source(files: PluginFiles, path: str, at: Cursor, findings: Findings) -> None:
    """Later."""
