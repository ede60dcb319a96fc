"""How messages name and count things."""

from __future__ import annotations

import pytest

from executor.errors import name_some, number_of, tell_some


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0 hooks"), (1, "1 hook"), (2, "2 hooks"), (100_000, "100,000 hooks")]
)
def test_one_thing_is_not_several(number: int, written: str) -> None:
    """And large numbers can be read."""
    assert number_of(number, "hook") == written


def test_some_words_are_not_regular() -> None:
    """They are given."""
    assert (number_of(1, "entry", "entries"), number_of(2, "entry", "entries")) == ("1 entry", "2 entries")


def test_ten_are_named() -> None:
    """And the rest is counted."""
    names = [f"n{number}" for number in range(1011)]
    assert name_some([]) == ""
    assert name_some(names[:2]) == "n0, n1"
    assert name_some(names[:10]).endswith("n9")
    assert name_some(names) == "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 1,001 more"


def test_many_problems_are_told_in_part() -> None:
    """All of few; twenty of many, and how many more there are."""
    problems = [f"problem {number}" for number in range(22)]
    assert tell_some(problems[:20]) == problems[:20]
    assert tell_some(problems[:21]) == [*problems[:20], "and 1 more problem"]
    assert tell_some(problems)[-1] == "and 2 more problems"
