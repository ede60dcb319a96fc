"""The lines that a function answers with, as the SDK's own server writes them.

Each is a JSON object and is followed by an empty line. The daemon reads lines of at most 5 MiB, and takes the first
`result` for the sign that the head is complete::

    {"event":"session","session_id":"...","data":{"type":"stream","data":{"status":200,"headers":{...}}}}
    {"event":"session","session_id":"...","data":{"type":"stream","data":{"result":"6d656f77"}}}
    {"event":"session","session_id":"...","data":{"type":"end","data":{}}}

Source: langgenius/dify-plugin-sdks 28d1d223, `core/server/__base/response_writer.py`; langgenius/dify-plugin-daemon
bdb5642a, `internal/core/serverless_runtime/io.go`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

__all__ = ["EventWriter"]


class EventWriter:
    """Writes the lines of one session.

    Args:
        session_id: The daemon's.
    """

    def __init__(self, session_id: str) -> None:
        self._before = f'{{"event":"session","session_id":{json.dumps(session_id)},"data":'.encode()

    def head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Write the head of a response: of a header that is repeated, the last value, as the daemon knows no more."""
        names: dict[str, str] = {}
        values: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name = raw_name.decode("latin-1")
            names[name.lower()] = name
            values[name.lower()] = raw_value.decode("latin-1")
        shown = {names[key]: value for key, value in values.items()}
        return self._line("stream", {"status": status, "headers": shown})

    def body(self, data: bytes) -> bytes:
        """Write a piece of the body."""
        return self._before + b'{"type":"stream","data":{"result":"' + data.hex().encode() + b'"}}}\n\n'

    def error(self, error_type: str, message: str, **arguments: object) -> bytes:
        """Write that the call has failed."""
        return self._line("error", {"error_type": error_type, "message": message, "args": arguments})

    def end(self) -> bytes:
        """Write the end."""
        return self._line("end", {})

    def _line(self, kind: str, data: Mapping[str, object]) -> bytes:
        text = json.dumps({"type": kind, "data": data}, separators=(",", ":"))
        return self._before + text.encode() + b"}\n\n"
