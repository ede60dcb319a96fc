"""What a database's error means for who runs the executor."""

from __future__ import annotations

import sqlite3
from typing import Final

__all__ = ["explain"]

_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another program for too long; find out which one with `fuser {shown}`",
    sqlite3.SQLITE_LOCKED: "is locked for too long",
    sqlite3.SQLITE_READONLY: "is read-only for this user; mend the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; look at the permissions of the file and its folder",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore a backup, or save what can be saved with `sqlite3 {shown} .recover`",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database; move the file away, or restore a backup",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk failed or is full",
    sqlite3.SQLITE_PERM: "cannot be used with the permissions that this user has",
    sqlite3.SQLITE_TOOBIG: "cannot take a value of this size",
}
_SERVER: Final = {
    "25006": "is read-only: the server is a standby, or set to read only",
    "40001": "was changed by another program at the same moment; try again",
    "40P01": "was changed by another program at the same moment; try again",
    "42501": "refuses: the user of the URL has not the right; it must own the tables and may make some",
    "53100": "cannot grow: the disk of the server is full",
    "53300": "has no connection left; raise max_connections of the server",
    "55P03": "is locked by another program for too long",
}
"""What a server says in five characters. https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_PRIMARY: Final = 0xFF
"""The primary part of an extended result code. https://www.sqlite.org/rescode.html, section 2."""


def explain(error: BaseException | None, shown: str, *, lost: bool = False) -> str:
    """Say in one sentence what happened and what to do.

    Args:
        error: What the driver raised.
        shown: How the database is called; no secret.
        lost: Whether the connection is gone.
    """
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        meaning = None if code is None else _SQLITE.get(code & _PRIMARY)
        if meaning is not None:
            return f"the store {shown} {meaning.format(shown=shown)} ({error})"
    text = _tell(error)
    if lost:
        return f"the store {shown}: the connection to the server was lost ({text}); the next try makes a new one"
    state = getattr(error, "sqlstate", None) or ""
    meaning = _SERVER.get(state)
    if meaning is not None:
        return f"the store {shown} {meaning} ({text})"
    return f"the store {shown} could not be used: {text}{f' [{state}]' if state else ''}"


def _tell(error: BaseException | None) -> str:
    """Write an error in one line; of a server's only the message: its details may have values in them."""
    message = getattr(getattr(error, "diag", None), "message_primary", None)
    return " ".join(str(message or error).split())
