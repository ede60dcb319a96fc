"""The session of an endpoint."""

from __future__ import annotations

__all__ = ["Session"]


class Session:
    """Who is called.

    Args:
        session_id: Identifier of the invocation.
        endpoint_id: Identifier of the hook.
    """

    def __init__(self, session_id: str, endpoint_id: str | None = None) -> None:
        self.session_id = session_id
        self.endpoint_id = endpoint_id
