"""What a worker is told of the host that a daemon passes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.serverless.endpoint import split_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.org", ("example.org", 80)),
        ("example.org:8080", ("example.org", 8080)),
        ("[::1]:8080", ("[::1]", 8080)),
        ("example.org:65536", ("example.org:65536", 80)),
        ("example.org:0000001234567", ("example.org:0000001234567", 80)),
        ("h:" + "0" * 6 + "1" * 5000, ("h:" + "0" * 6 + "1" * 5000, 80)),
        ("::1", ("::1", 80)),
        ("", ("", 80)),
    ],
)
def test_hosts(host: str, expected: tuple[str, int]) -> None:
    """A port is a number that ports have; whatever else is there belongs to the name."""
    assert split_host(host) == expected


@given(st.text() | st.from_regex(r"[a-z]*:[0-9]{0,8}"))
def test_any_host(host: str) -> None:
    """It has a port that a worker can be told."""
    assert 0 <= split_host(host)[1] <= 65535
