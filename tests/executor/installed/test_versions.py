"""Names of installed versions, whatever somebody may type."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from executor.installed.errors import InstalledError
from executor.installed.versions import find_version, parse_name
from executor.store.records import InstalledPlugin

VERSIONS = tuple(
    InstalledPlugin(
        identifier=f"{author}/cat:{version}@{checksum * 32}",
        author=author,
        name="cat",
        version=version,
        checksum=checksum * 32,
        digest="",
        folder="",
        installed_at=0.0,
    )
    for author, version, checksum in (("a", "1.0.0", "ab"), ("a", "1.0.0", "ac"), ("b", "1.0.0", "ab"))
)


@given(st.text(st.sampled_from("abct/:@.10"), max_size=20) | st.text(max_size=20))
def test_any_name_is_one_version_or_an_error(text: str) -> None:
    """And the version has all parts that were given."""
    try:
        found = find_version(text, VERSIONS)
    except InstalledError:
        return
    assert parse_name(text).fits(author=found.author, name=found.name, version=found.version, checksum=found.checksum)


def test_whole_identifiers_find_themselves() -> None:
    """Each of them."""
    for version in VERSIONS:
        assert find_version(version.identifier, VERSIONS) is version
