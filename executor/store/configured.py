"""The store that a configuration names."""

from __future__ import annotations

from executor.config.model import Config
from executor.config.references import ResolveError
from executor.store.errors import StoreError
from executor.store.store import Store, open_store

__all__ = ["open_configured_store"]


def open_configured_store(config: Config) -> Store:
    """Open it, and bring its tables up to date.

    Raises:
        StoreError: It cannot be used; the text says why and what to do.
    """
    url = config.store.url
    try:
        return open_store(None if url is None else url.reveal(), config.state_dir)
    except ResolveError as error:
        raise StoreError(f"store.url: {error}") from error
