"""Specifiers of versions mean what the library `packaging` takes them for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from executor.environments.specifiers import SpecifierError, allows

releases = st.builds(lambda minor, patch: f"3.{minor}.{patch}", st.integers(9, 15), st.integers(0, 3))
versions = st.sampled_from(["3", "3.10", "3.11", "3.11.1", "3.12", "3.12.2", "4", "4.0", "3.13.0.0"])
plain = st.builds("{} {}".format, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), versions)
starred = st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), versions)
compatible = st.sampled_from(["~=3.11", "~= 3.12.1", "~=3.10.0"])
clauses = st.lists(plain | starred | compatible, max_size=4).map(",".join)


@given(clauses, releases)
def test_they_mean_the_same(specifier: str, version: str) -> None:
    """For final releases, whatever the clauses."""
    assert allows(specifier, version) == SpecifierSet(specifier).contains(version)


@pytest.mark.parametrize("text", ["3.12", ">=", "=>3.11", ">3.*", "~=3", "~=3.*", "python>=3", ">=3.11;", ">" * 2000])
def test_what_is_none(text: str) -> None:
    """It is named."""
    with pytest.raises(SpecifierError):
        allows(text, "3.12.1")


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """It is a specifier, or refused."""
    try:
        allows(text, "3.12.1")
    except SpecifierError:
        return
