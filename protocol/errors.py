"""The two ways in which the protocol can be broken: by us, or by the peer.

The split is the one that h11 makes. A `LocalProtocolError` is a bug on this side of the pipe; it is raised
before anything has changed, so the connection stays usable. A `RemoteProtocolError` is the peer's doing;
the stream can no longer be trusted and the connection is dead.
"""

from __future__ import annotations

from typing import final

__all__ = ["LocalProtocolError", "ProtocolError", "RemoteProtocolError", "StreamCutError"]


class ProtocolError(Exception):
    """Base of both errors. The text says what was wrong, what was found, and the limit where there is one."""


@final
class LocalProtocolError(ProtocolError, ValueError):
    """This side asked for something illegal: a bad value, a message out of turn, or data beyond the credit.

    Nothing has been sent and no state has changed.
    """


class RemoteProtocolError(ProtocolError):
    """The peer sent something illegal. The stream is unusable: close it; if the peer is a worker, kill it."""


@final
class StreamCutError(RemoteProtocolError):
    """The peer's stream ended within a frame: it was killed while it wrote, or has broken the protocol."""
