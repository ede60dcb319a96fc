"""Telling others that the service is up: a service manager by `sd_notify`, scripts by a ready file."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

__all__ = ["notify_manager", "write_ready_file"]


def notify_manager(*states: str) -> bool:
    """Send states such as `READY=1` to the service manager that `$NOTIFY_SOCKET` names.

    Returns:
        Whether there was one to tell.

    Source: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    lines = [*states]
    if "RELOADING=1" in states:
        lines.append(f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        try:
            manager.connect(address)
            manager.sendall("\n".join(lines).encode())
        except OSError:
            return False
    return True


def write_ready_file(path: Path, content: Mapping[str, object]) -> None:
    """Write the file whole or not at all: whoever sees it can read it.

    Raises:
        OSError: The folder cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.write("\n")
    Path(temporary).replace(path)
