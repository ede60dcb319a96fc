"""Percentiles, spreads, ratios."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.statistics import Spread, percentile, ratios, spread

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 50), (50.5, 51), (99, 99), (100, 100)])
def test_percentiles_are_values_that_occurred(percent: float, expected: float) -> None:
    """By the nearest rank: of 1 to 100, the 50th percentile is 50."""
    assert percentile([float(value) for value in range(100, 0, -1)], percent) == expected


@given(st.lists(FINITE, min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_the_least_that_enough_do_not_exceed(values: list[float], percent: float) -> None:
    """And it does not depend on their order."""
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9
    assert percentile(values[::-1], percent) == found


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_percentiles_of_nothing_are_refused(values: list[float], percent: float) -> None:
    """So are those that are none."""
    with pytest.raises(ValueError, match=r"no values|not a percentage"):
        percentile(values, percent)


def test_a_spread_is_median_least_most() -> None:
    """The median of an even number is between the two in the middle."""
    assert spread([3, 1, 2]) == Spread(2, 1, 3, 3)
    assert spread([4, 1, 2, 3]) == Spread(2.5, 1, 4, 4)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_are_taken_within_rounds() -> None:
    """Rounds that one of the two lacks are left out, and nothing is divided by zero."""
    assert ratios({1: 4.0, 2: 9.0, 3: 5.0, 4: 1.0}, {1: 2.0, 2: 3.0, 4: 0.0, 5: 1.0}) == [2.0, 3.0]
