"""Kinds of files."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["FileType"]


class FileType(StrEnum):
    """What a file holds."""

    IMAGE = "image"
    DOCUMENT = "document"
    AUDIO = "audio"
    VIDEO = "video"
    CUSTOM = "custom"
