"""A short run of the fuzz target of packages, so that it cannot rot."""

from __future__ import annotations

import pytest

from executor.packages import archive
from tests.executor.packages.support import Raw, make_zip
from tests.fuzz.fuzz_package import PackageMutator, check_package, fuzz_packages


def test_good_packages_get_through() -> None:
    """And so the mutator's often do, for what it breaks is one thing at a time."""
    assert check_package(make_zip([Raw(name=b"a"), Raw(name=b"b/c", content=b"x" * 900, method=0)])) == 2
    mutator = PackageMutator(1)
    assert sum(check_package(mutator.next_input()) > 0 for _ in range(300)) > 20


def test_the_same_seed_gives_the_same_inputs() -> None:
    """A finding can be repeated."""
    first, second = PackageMutator(1), PackageMutator(1)
    assert [first.next_input() for _ in range(20)] == [second.next_input() for _ in range(20)]


def test_a_short_run_finds_nothing() -> None:
    """One second of mutations."""
    inputs, files = fuzz_packages(1.0, seed=20)
    assert inputs > 50
    assert files > 0


def test_a_finding_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """When a check is missing, the input that shows it is printed."""
    monkeypatch.setattr(archive, "check_name", lambda _: None)
    with pytest.raises(AssertionError):
        fuzz_packages(5.0, seed=1)
    assert "of seed 1: 504b" in capsys.readouterr().err
