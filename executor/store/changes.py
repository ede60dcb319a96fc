"""Changes of plugins and hooks: one at a time, and counted, so that a running service can tell that there was one."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from executor.store.tables import ChangeRow

__all__ = ["begin_change"]


def begin_change(session: Session) -> None:
    """Count one more change, before anything else in the transaction that makes it.

    The row of the count is the lock of all changes, on both databases: who changes a hook need not reckon with
    somebody who removes its plugin at that moment, and nobody waits for two of them in another order. They are rare.
    """
    session.execute(update(ChangeRow).values(generation=ChangeRow.generation + 1))
