"""Invocation ids: UUIDs of version 7 (RFC 9562 section 5.7), which sort by the time they were made."""

from __future__ import annotations

import os
import time

__all__ = ["new_invocation_id"]


def new_invocation_id() -> str:
    """Return a new id in the canonical text form: 48 bits of Unix time in milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
