"""What the tests of the store have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from executor.store.records import InstalledPlugin, StoredHook

__all__ = ["Place", "make_hook", "make_plugin"]


@dataclass(frozen=True)
class Place:
    """Where a store is: what `open_store` takes."""

    url: str | None
    state_dir: Path

    @property
    def database(self) -> str:
        """The name of the database on its server."""
        assert self.url is not None
        return self.url.partition("@/")[2].partition("?")[0]


def make_plugin(version: str = "1.0.0", *, name: str = "cat", checksum: str = "0" * 64) -> InstalledPlugin:
    """An installed plugin."""
    return InstalledPlugin(
        identifier=f"tester/{name}:{version}@{checksum}",
        author="tester",
        name=name,
        version=version,
        checksum=checksum,
        digest="d" * 64,
        folder=f"/plugins/{name}-{version}",
        declaration={"label": {"en_US": "Katze 🐈"}, "endpoints": 3, "tags": [None, True, 1.5]},
        installed_at=1_700_000_000.25,
    )


def make_hook(hook_id: str = "hook000000000001", *, plugin: InstalledPlugin | None = None) -> StoredHook:
    """A hook of a plugin."""
    plugin = plugin or make_plugin()
    return StoredHook(
        hook_id=hook_id,
        plugin_id=plugin.plugin_id,
        groups=("group/a.yaml", "group/b.yaml"),
        active=plugin.identifier,
        settings={"colour": "pink", "deep": {"list": [1, None, "ü"]}},
        secrets={"token": "ciphertext"},
        created_at=1_700_000_001.5,
        updated_at=1_700_000_001.5,
    )
