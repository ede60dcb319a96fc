"""Percentiles of one run, and what several runs of the same thing amount to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Spread", "percentile", "ratios", "spread"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one figure.

    Attributes:
        median: The middle one, or the mean of the two in the middle.
        least: The smallest.
        most: The largest.
        count: How many there are.
    """

    median: float
    least: float
    most: float
    count: int


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all do not exceed (nearest rank).

    Args:
        values: At least one, in any order.
        percent: Above 0, up to 100.

    Raises:
        ValueError: No values, or no percentage.
    """
    if not values:
        raise ValueError("no values")
    if not 0 < percent <= 100:
        raise ValueError(f"not a percentage above 0: {percent}")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def spread(values: Iterable[float]) -> Spread:
    """Sum up the values of several rounds.

    Raises:
        ValueError: There are none.
    """
    known = list(values)
    if not known:
        raise ValueError("no values")
    return Spread(median=statistics.median(known), least=min(known), most=max(known), count=len(known))


def ratios(over: dict[int, float], under: dict[int, float]) -> list[float]:
    """Divide round by round, for what disturbs a machine disturbs neighbours alike.

    Args:
        over: Values by number of the round.
        under: Likewise. Rounds that only one of the two has, and zeros, are left out.
    """
    return [value / under[number] for number, value in over.items() if under.get(number, 0) > 0]
