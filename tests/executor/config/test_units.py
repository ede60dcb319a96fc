"""Durations and sizes: what is accepted, what it means, and that what is shown is read back."""

from __future__ import annotations

from typing import Annotated

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError

from executor.config.units import (
    Count,
    Cpus,
    Duration,
    Quantity,
    Size,
    format_cpus,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1h30m", 5400.0),
        (" 1 h 30 m ", 5400.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        (30, 30.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_durations_are_read(written: object, seconds: float) -> None:
    """Text with units, or a number of seconds."""
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "30",
        "s",
        "-1s",
        "1d",
        "1 s 2",
        "1e3s",
        "inf",
        "\u0661s",
        "1m!",
        None,
        True,
        [],
        -1,
        float("nan"),
        float("inf"),
    ],
)
def test_other_things_are_no_durations(written: object) -> None:
    """Among them a text without a unit, which might mean anything."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("128 MiB", 128 * 1024**2),
        ("64KiB", 65536),
        ("1GB", 10**9),
        ("1 kB", 1000),
        ("1KB", 1000),
        ("1.5 KiB", 1536),
        ("0 B", 0),
        ("2 TiB", 2 * 1024**4),
        (7, 7),
    ],
)
def test_sizes_are_read(written: object, size_bytes: int) -> None:
    """Text with a unit, or a number of bytes."""
    assert parse_size(written) == size_bytes


@pytest.mark.parametrize(
    "written", ["", "1", "MiB", "-1 B", "1.5 B", "0.0001 KiB", "1 mib", "1 MB/s", "1K", None, False, 1.5, -1, [1]]
)
def test_other_things_are_no_sizes(written: object) -> None:
    """Among them fractions of a byte and units of which one cannot know what they mean."""
    with pytest.raises(ValueError, match="not a size"):
        parse_size(written)


@given(st.floats(min_value=0, max_value=1e9, allow_subnormal=False).filter(lambda value: value == 0 or value > 1e-15))
def test_shown_durations_are_read_back(seconds: float) -> None:
    """Showing loses nothing."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=2**50))
def test_shown_sizes_are_read_back(size_bytes: int) -> None:
    """Showing loses nothing."""
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(("seconds", "shown"), [(600, "10m"), (0.5, "500ms"), (90, "90s"), (0, "0s"), (3600, "1h")])
def test_durations_are_shown_in_the_largest_exact_unit(seconds: float, shown: str) -> None:
    """Not as 600.0s."""
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"), [(128 * 1024**2, "128 MiB"), (10**9, "1 GB"), (1023, "1023 B"), (0, "0 B")]
)
def test_sizes_are_shown_in_the_largest_exact_unit(size_bytes: int, shown: str) -> None:
    """Binary units first."""
    assert format_size(size_bytes) == shown


@given(st.floats(min_value=1e-3, max_value=256))
def test_shown_shares_are_read_back(cpus: float) -> None:
    """By YAML, which takes a number with an exponent for a text unless it has a point and a sign."""
    assert Cpus(0, 256).check(yaml.safe_load(format_cpus(cpus))) == cpus


@pytest.mark.parametrize(("cpus", "shown"), [(1.0, "1"), (1, "1"), (0.05, "0.05"), (10.0, "10"), (256.5, "256.5")])
def test_shares_are_shown_without_needless_zeros(cpus: float, shown: str) -> None:
    """Not as 1.0."""
    assert format_cpus(cpus) == shown


@pytest.mark.parametrize(
    ("quantity", "unit", "kind"),
    [
        (Duration("1s", "1m"), "s", "number"),
        (Size("1 KiB", "1 MiB"), "bytes", "integer"),
        (Cpus(0.5, 2), "CPUs", "number"),
        (Count(1, 2), "", "integer"),
    ],
)
def test_quantities_say_what_they_hold(quantity: Quantity, unit: str, kind: str) -> None:
    """For programs: the unit, and the type in the JSON Schema."""
    assert quantity.unit == unit
    schema = TypeAdapter(Annotated[float, quantity]).json_schema()
    assert schema.get("anyOf", [schema])[0]["type"] == kind


@pytest.mark.parametrize(
    ("quantity", "value", "expected"),
    [
        (Duration("1s", "1m"), "2m", "a duration from 1s to 1m, such as 30s"),
        (Duration("1s", "1m"), "x", "a duration from 1s to 1m, such as 30s"),
        (Size("1 KiB", "1 MiB", "64 KiB"), 3, "a size from 1 KiB to 1 MiB, such as 64 KiB"),
        (Count(1, 3), 4, "a whole number from 1 to 3"),
        (Count(1, 3), "2", "a whole number from 1 to 3"),
        (Count(1, 3), True, "a whole number from 1 to 3"),
        (Count(1, 3), 2.0, "a whole number from 1 to 3"),
        (Cpus(0.05, 4), 0.04, "a number of CPUs from 0.05 to 4, such as 0.5"),
        (Cpus(0.05, 4), "1", "a number of CPUs from 0.05 to 4, such as 0.5"),
        (Cpus(0.05, 4), True, "a number of CPUs from 0.05 to 4, such as 0.5"),
        (Cpus(0.05, 4), float("nan"), "a number of CPUs from 0.05 to 4, such as 0.5"),
    ],
)
def test_refusals_say_what_is_expected(quantity: Quantity, value: object, expected: str) -> None:
    """The range and an example."""
    with pytest.raises(PydanticCustomError) as caught:
        quantity.check(value)
    assert caught.value.message() == f"expected {expected}"
