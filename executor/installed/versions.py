"""Finding the installed version that somebody means by a short name.

`cat`, `tester/cat`, `cat:0.0.2`, `tester/cat:0.0.2` and `tester/cat:0.0.2@88b64b`, with the first digits of the
checksum or all of them, may all mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from executor.errors import name_some
from executor.installed.errors import InstalledError
from executor.store.records import InstalledPlugin

__all__ = [
    "VersionName",
    "expect_one_plugin",
    "find_plugin_id",
    "find_version",
    "find_versions",
    "names_version",
    "parse_name",
]

NAME: Final = re.compile(
    r"(?:(?P<author>[A-Za-z0-9_-]+)/)?(?P<name>[a-z0-9_-]+)(?::(?P<version>[^@:/]+))?(?:@(?P<checksum>[0-9a-f]{4,64}))?"
)


@dataclass(frozen=True, slots=True)
class VersionName:
    """A name as it was given; empty parts were not given."""

    author: str
    name: str
    version: str
    checksum: str

    def fits(self, *, author: str, name: str, version: str, checksum: str) -> bool:
        """Tell whether the version with these parts may be meant."""
        return (
            self.name == name
            and self.author in {"", author}
            and self.version in {"", version}
            and checksum.startswith(self.checksum)
        )


def parse_name(text: str) -> VersionName:
    """Read a name.

    Raises:
        InstalledError: It is not one.
    """
    match = NAME.fullmatch(text)
    if match is None:
        raise InstalledError(f"expected a plugin such as cat, tester/cat or tester/cat:0.0.1, found {text!r}")
    return VersionName(**match.groupdict(""))


def names_version(text: str) -> bool:
    """Tell whether a name says which version of a plugin is meant.

    Raises:
        InstalledError: It is no name.
    """
    name = parse_name(text)
    return bool(name.version or name.checksum)


def find_versions(text: str, versions: Iterable[InstalledPlugin]) -> tuple[InstalledPlugin, ...]:
    """Find all versions that may be meant, of one plugin.

    Args:
        text: What was given.
        versions: Those that are installed, of each plugin in the order of their installation.

    Raises:
        InstalledError: There is none, or it is not clear which plugin is meant.
    """
    name = parse_name(text)
    installed = tuple(versions)
    found = tuple(
        one
        for one in installed
        if name.fits(author=one.author, name=one.name, version=one.version, checksum=one.checksum)
    )
    if not found:
        same = [version.identifier for version in installed if version.name == name.name]
        known = same or sorted({version.plugin_id for version in installed})
        hint = f"there are: {name_some(known)}" if known else "no plugin is installed; see `executor plugin install`"
        raise InstalledError(f"no installed plugin is called {text}; {hint}")
    expect_one_plugin(text, (version.plugin_id for version in found))
    return found


def expect_one_plugin(text: str, plugin_ids: Iterable[str]) -> None:
    """Refuse a name that may be that of several plugins.

    Args:
        text: What was given.
        plugin_ids: `author/name` of all that fit.

    Raises:
        InstalledError: They are not all the same.
    """
    plugins = sorted(set(plugin_ids))
    if len(plugins) > 1:
        raise InstalledError(f"{text} may be {' or '.join(plugins)}; give the author as well")


def find_plugin_id(text: str, versions: Iterable[InstalledPlugin]) -> str:
    """Find the plugin, `author/name`, that is meant.

    Raises:
        InstalledError: There is none, or several.
    """
    return find_versions(text, versions)[0].plugin_id


def find_version(text: str, versions: Sequence[InstalledPlugin]) -> InstalledPlugin:
    """Find the version that is meant: of several, the one that was installed last.

    Raises:
        InstalledError: There is none, or several have the checksum that was begun.
    """
    found = find_versions(text, versions)
    name = parse_name(text)
    if name.checksum and len(found) > 1:
        raise InstalledError(f"{text} may be {' or '.join(version.identifier for version in found)}; give more digits")
    return found[-1]
