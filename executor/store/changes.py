"""Counting changes, so that a running service can tell that there was one."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from executor.store.tables import ChangeRow

__all__ = ["count_change"]


def count_change(session: Session) -> None:
    """Count one more, within the transaction that makes it."""
    session.flush()
    session.execute(update(ChangeRow).values(generation=ChangeRow.generation + 1))
