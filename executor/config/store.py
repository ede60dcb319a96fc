"""The section `store`: which database holds plugins, hooks and what plugins have stored."""

from __future__ import annotations

from pydantic import Field

from executor.config.confidential import Confidential
from executor.config.section import Section

__all__ = ["StoreSettings"]


class StoreSettings(Section):
    """The database of installed plugins, hooks and plugin storage."""

    url: Confidential | None = Field(
        default=None,
        description="A PostgreSQL database, `postgresql://USER:PASSWORD@HOST:5432/DATABASE`; several executors may "
        "share it. Not given: SQLite, in the file `executor.db` of `state_dir`.",
    )
