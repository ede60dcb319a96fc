"""Every limit of the wire format, once, with its unit and where the number comes from.

These are the limits of the *protocol*: no configuration can raise them, and both sides may size buffers by them. The
operator's limits (request body, log output, ...) lie below and are enforced elsewhere. Texts are measured in bytes of
UTF-8, because that is what they cost on the wire.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "INITIAL_CREDIT",
    "MAX_CALL_BYTES",
    "MAX_CONTROL",
    "MAX_CREDIT",
    "MAX_DATA",
    "MAX_DEPTH",
    "MAX_ENVIRON_BYTES",
    "MAX_ERROR_TEXT",
    "MAX_FRAME",
    "MAX_HEADERS",
    "MAX_HEADER_BYTES",
    "MAX_ID",
    "MAX_LOGGER_NAME",
    "MAX_LOG_MESSAGE",
    "MAX_NAME",
    "MAX_NODES",
    "MAX_OPTIONS_BYTES",
    "MAX_PATH",
    "MAX_PATH_VALUES",
    "MAX_RECEIVE_BUFFER",
    "MAX_REPORT_BYTES",
    "MAX_SETTINGS_BYTES",
    "MAX_SMALL_FRAME",
    "MAX_SOURCES",
    "MAX_TEXT_FRAME",
    "MAX_URL_PART",
    "MAX_WINDOW_FRAME",
    "MAX_WORD",
]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

MAX_DATA: Final = 64 * _KIB
"""Bytes in one BODY or CHUNK. The default capacity of a pipe (pipe(7)), and what uvicorn and asyncio read at once."""

INITIAL_CREDIT: Final = 256 * _KIB
"""Bytes that each side may send before the first CREDIT. Four full frames: enough to keep a pipe busy."""

MAX_CREDIT: Final = 16 * _MIB
"""Bytes of credit outstanding at any time. RFC 9113 section 6.9.1 allows 2**31-1; this also bounds memory."""

MAX_HEADERS: Final = 1000
"""Header fields in one head. Well above the servers' defaults (Apache httpd 100, Node.js 2000 lines)."""

MAX_HEADER_BYTES: Final = 256 * _KIB
"""Bytes of all names and values of one head. Chromium and curl stop at 256 and 300 KiB; nginx takes 32."""

MAX_URL_PART: Final = 64 * _KIB
"""Bytes of a path, query, root path or one path value. uvicorn's h11 takes 64 KiB of request line and headers."""

MAX_PATH_VALUES: Final = 64
"""Converted path values of one request."""

MAX_SETTINGS_BYTES: Final = 1 * _MIB
"""Encoded bytes of a hook's settings."""

MAX_REPORT_BYTES: Final = 64 * _KIB
"""Encoded bytes of the report in READY."""

MAX_OPTIONS_BYTES: Final = 64 * _KIB
"""Encoded bytes of the options in PREPARE."""

MAX_CALL_BYTES: Final = 1 * _MIB
"""Encoded bytes of the request of a CALL or the data of a CALL_RESULT."""

MAX_DEPTH: Final = 32
"""Levels of arrays and maps in plain data, counting the outermost. jq and PHP stop at 256 and 512; people at 10."""

MAX_NODES: Final = 65536
"""Values in one payload, each array, map, key and scalar counting as one. Bounds the memory that a payload unfolds to."""

MAX_ENVIRON_BYTES: Final = 128 * _KIB
"""Bytes of all names and values of the environment. MAX_ARG_STRLEN of execve(2)."""

MAX_SOURCES: Final = 1000
"""Sources named in PREPARE, modules and directories named in FORK_ZYGOTE."""

MAX_PATH: Final = 4096
"""Bytes of one file name. PATH_MAX of limits.h."""

MAX_LOG_MESSAGE: Final = 16 * _KIB
"""Bytes of one log message. Docker's and containerd's log drivers split lines at 16 KiB."""

MAX_ERROR_TEXT: Final = 64 * _KIB
"""Bytes of the message, and of the traceback, of an ERROR; also of the reason of a CANCEL."""

MAX_LOGGER_NAME: Final = 256
"""Bytes of the name of a logger."""

MAX_NAME: Final = 1024
"""Bytes of names from outside: hook, host, client address. RFC 1035 allows 255 for a host; sun_path is 108."""

MAX_WORD: Final = 64
"""Bytes of words: method, scheme, version, kind, identifier of an invocation (a UUID has 36)."""

MAX_ID: Final = 2**63 - 1
"""Largest count or identifier: the signed 64-bit range, which every msgpack implementation can hold."""

MAX_SMALL_FRAME: Final = 64
"""Payload bytes of END, BODY_END and CREDIT. They need at most 10."""

MAX_WINDOW_FRAME: Final = MAX_DATA + 16
"""Payload bytes of BODY and CHUNK: one array head and one bin head besides the data."""

MAX_TEXT_FRAME: Final = 2 * MAX_ERROR_TEXT + 1 * _KIB
"""Payload bytes of ERROR, LOG, CANCEL and READY."""

MAX_FRAME: Final = 2 * _MIB
"""Payload bytes of the largest frame, INVOKE: settings, head and URL at their limits, and the rest, rounded up."""

MAX_RECEIVE_BUFFER: Final = MAX_FRAME + 1 * _MIB
"""Bytes that a connection holds: the largest frame, incomplete, and one read (fs.pipe-max-size is 1 MiB)."""

MAX_CONTROL: Final = 64 * _KIB
"""Bytes of one control datagram. Below net.core.wmem_default (208 KiB), so that a datagram always fits."""
