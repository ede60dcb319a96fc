"""Every limit of the wire format, once, with its unit and where the number comes from.

These are the limits of the *protocol*: no configuration can raise them, and both sides may size buffers by
them. The operator's limits (request body, log output, ...) lie below and are enforced elsewhere. Texts are
measured in bytes of UTF-8, because that is what they cost on the wire.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "INITIAL_CALL_CREDIT",
    "INITIAL_CREDIT",
    "MAX_CALL_BYTES",
    "MAX_CALL_DEPTH",
    "MAX_CALL_NODES",
    "MAX_CONTROL",
    "MAX_CREDIT",
    "MAX_DATA",
    "MAX_DATA_FRAME",
    "MAX_DEPTH",
    "MAX_ENTRIES",
    "MAX_ERROR_FRAME",
    "MAX_ERROR_TEXT",
    "MAX_FRAME",
    "MAX_HEADERS",
    "MAX_HEADER_BYTES",
    "MAX_HEAD_FRAME",
    "MAX_ID",
    "MAX_IMPORT",
    "MAX_IMPORTS",
    "MAX_LAYERS",
    "MAX_LIMITS_BYTES",
    "MAX_LOGGER_NAME",
    "MAX_LOG_FRAME",
    "MAX_LOG_MESSAGE",
    "MAX_NAME",
    "MAX_NODES",
    "MAX_OPEN_CALLS",
    "MAX_PATH",
    "MAX_PATHS",
    "MAX_PATH_VALUES",
    "MAX_PAYLOAD_NODES",
    "MAX_RECEIVE_BUFFER",
    "MAX_SETTINGS_BYTES",
    "MAX_SMALL_FRAME",
    "MAX_URL_PART",
    "MAX_WORD",
]

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

# Flow control.

MAX_DATA: Final = 64 * _KIB
"""Bytes in one BODY or CHUNK. The default capacity of a pipe (pipe(7)); uvicorn reads as much."""

INITIAL_CREDIT: Final = 256 * _KIB
"""Bytes that each side may send before the first CREDIT. Four full frames: enough to keep a pipe busy."""

MAX_CREDIT: Final = 16 * _MIB
"""Bytes of credit outstanding. RFC 9113 section 6.9.1 allows 2**31-1; here it also bounds memory."""

# Reverse calls.

MAX_CALL_BYTES: Final = 64 * _MIB
"""Encoded bytes of one request, or of one item of an answer. Dify's inner API sends parts of at most 30 MiB."""

MAX_CALL_NODES: Final = 2**20
"""Values in one request, or in one item of an answer: 256 vectors of 4096 numbers."""

MAX_CALL_DEPTH: Final = 64
"""Levels of arrays and maps in one request, or in one item of an answer. protobuf stops at 100."""

MAX_OPEN_CALLS: Final = 128
"""Calls of a worker that are not over, answered or not. RFC 9113 section 6.5.2 wants 100 streams at least."""

INITIAL_CALL_CREDIT: Final = 64 * _KIB
"""Bytes of a request, and of the items of its answer, that may be sent before the first CALL_CREDIT."""

# The head of a request or response.

MAX_HEADERS: Final = 1000
"""Header fields in one head. Servers stop earlier: Apache httpd at 100, Node.js at 1000 or 2000."""

MAX_HEADER_BYTES: Final = 256 * _KIB
"""Bytes of all names and values of one head. nginx takes 32 KiB, Chromium 256 KiB, curl 300 KiB."""

MAX_URL_PART: Final = 64 * _KIB
"""Bytes of a path, query or root path, or of all path values. uvicorn's h11 takes 64 KiB of request head."""

MAX_PATH_VALUES: Final = 64
"""Converted path values of one request."""

# Plain data.

MAX_SETTINGS_BYTES: Final = 1 * _MIB
"""Encoded bytes of a hook's settings. A request to etcd may have 1.5 MiB, a ConfigMap of Kubernetes 1 MiB."""

MAX_LIMITS_BYTES: Final = 16 * _KIB
"""Encoded bytes of the limits in PREPARE_WORKER."""

MAX_ENTRIES: Final = 1000
"""Entries of the limits, or of a report."""

MAX_DEPTH: Final = 32
"""Levels of arrays and maps, counting the outermost. protobuf stops at 100."""

MAX_NODES: Final = 65536
"""Values in one field of plain data: each container, key and scalar. Bounds what unfolding costs."""

MAX_PAYLOAD_NODES: Final = MAX_NODES + 8192
"""Values in one payload: plain data at its limit and the widest of everything else, rounded up."""

# Names and texts.

MAX_PATHS: Final = 256
"""Sources in PREPARE_WORKER; modules, and directories, in FORK_ZYGOTE."""

MAX_PATH: Final = 4096
"""Bytes of one file name. PATH_MAX of limits.h."""

MAX_IMPORTS: Final = 128
"""Imports of a plugin's sources in FORK_ZYGOTE. Real endpoints have a dozen."""

MAX_IMPORT: Final = 128
"""Bytes of one of them: a module, and a name that is imported from it."""

MAX_LAYERS: Final = 64
"""Layers of isolation in one list. namespaces(7) has 8 kinds, and there are about as many other layers."""

MAX_LOG_MESSAGE: Final = 16 * _KIB
"""Bytes of one log message. The log drivers of Docker and containerd split lines at 16 KiB."""

MAX_ERROR_TEXT: Final = 64 * _KIB
"""Bytes of the message, and of the traceback, of an ERROR."""

MAX_LOGGER_NAME: Final = 256
"""Bytes of the name of a logger. NAME_MAX of limits.h is 255."""

MAX_NAME: Final = 1024
"""Bytes of names from outside: hook, host, client address. RFC 1035 allows 255 for a host."""

MAX_WORD: Final = 64
"""Bytes of words: method, scheme, version, kind, layer, identifier of an invocation (a UUID has 36)."""

MAX_ID: Final = 2**63 - 1
"""Largest count or identifier: the signed 64-bit range, which every msgpack implementation can hold."""

# Frames: bytes of payload. Each holds the largest legal message of its type; a test proves it.

MAX_SMALL_FRAME: Final = 16
"""READY, END, BODY_END, CREDIT, CALL_CREDIT, CALL_CANCEL."""

MAX_DATA_FRAME: Final = MAX_DATA + 128
"""BODY, CHUNK, CALL, CALL_DATA, CALL_RESULT: an identifier, a word, a size and headers besides the data."""

MAX_HEAD_FRAME: Final = MAX_HEADER_BYTES + 16 * _KIB
"""RESPONSE: at most eleven bytes of msgpack for each field besides its name and value."""

MAX_LOG_FRAME: Final = MAX_LOG_MESSAGE + 1 * _KIB
"""LOG, CANCEL."""

MAX_ERROR_FRAME: Final = 2 * MAX_ERROR_TEXT + 1 * _KIB
"""ERROR."""

MAX_FRAME: Final = 2 * _MIB
"""INVOKE: everything at its limit, rounded up."""

MAX_RECEIVE_BUFFER: Final = MAX_FRAME + 1 * _MIB
"""Bytes that a connection holds: the largest frame, incomplete, and one read (fs.pipe-max-size is 1 MiB)."""

MAX_CONTROL: Final = 64 * _KIB
"""Bytes of one control datagram. Well below net.core.wmem_default (208 KiB), so that it always fits."""
