"""The session of the model call that is going on, of which endpoints have none."""

from __future__ import annotations

from dify_plugin.core.runtime import Session

__all__ = ["get_current_session"]


def get_current_session() -> Session | None:
    """Return None, as the SDK does outside of models."""
    return None
