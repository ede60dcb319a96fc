"""Keys by which files and selected tools are recognised in plain data."""

from __future__ import annotations

from typing import Final

__all__ = ["DIFY_FILE_IDENTITY", "DIFY_TOOL_SELECTOR_IDENTITY"]

DIFY_FILE_IDENTITY: Final = "__dify__file__"
DIFY_TOOL_SELECTOR_IDENTITY: Final = "__dify__tool_selector__"
