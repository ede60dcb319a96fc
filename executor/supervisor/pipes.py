"""The four pipes of a worker: two of the protocol, and its output."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["PIPE_SIZE", "close_quietly", "open_pipes"]

PIPE_SIZE: Final = 65_536
"""The default capacity of a Linux pipe in bytes (pipe(7))."""


def open_pipes() -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Open the four pipes; our ends (write, read, stdout, stderr) and the worker's (read, write, stdout, stderr)."""
    opened: list[int] = []
    try:
        for flags in (os.O_CLOEXEC | os.O_NONBLOCK,) * 2 + (os.O_CLOEXEC,) * 2:
            opened += os.pipe2(flags)
    except OSError:
        close_quietly(opened)
        raise
    requests_r, requests_w, responses_r, responses_w, stdout_r, stdout_w, stderr_r, stderr_w = opened
    ours = (requests_w, responses_r, stdout_r, stderr_r)
    for descriptor in (stdout_r, stderr_r):  # the other ends are what print() and others write to
        os.set_blocking(descriptor, False)
    return ours, (requests_r, responses_w, stdout_w, stderr_w)


def close_quietly(descriptors: tuple[int, ...] | list[int]) -> None:
    """Close descriptors; those that cannot be closed are no business of anybody."""
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:  # `contextlib.suppress` would cost more than the rest
            continue
