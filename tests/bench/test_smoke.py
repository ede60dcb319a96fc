"""The whole of it runs. Its figures mean nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.bench import with_needed
from tests.bench.cases import CASES
from tests.bench.direct import fork_for_one
from tests.bench.handler import load_endpoint
from tests.bench.results import Results
from tests.bench.systems import SYSTEMS
from tests.bench.workloads import HELLO


@pytest.mark.stress
@pytest.mark.e2e
def test_every_case_gives_figures(tmp_path: Path) -> None:
    """On every system that can be had here; our own always."""
    file = tmp_path / "results.json"
    numbers = {"seconds": "0.3", "requests": "9", "burst": "5", "hooks": "3", "plugins": "3", "streams": "6"}
    words = [word for name, number in numbers.items() for word in (f"--{name}", number)]
    assert main(["--quick", *words, "--results", str(file)]) == 0
    results = Results.load(file)
    assert results.failures == []
    found = {(one.case, one.system) for one in results.measurements}
    assert {(case, "executor") for case in CASES if case not in results.skipped} <= found
    assert {("slow-streams", system) for system in ("executor", "in-process")} <= found
    assert {system for _, system in found} == set(SYSTEMS) - set(results.skipped)
    assert set(results.skipped) <= {"bwrap", "sdk", "cold-sdk"}
    assert with_needed(list(CASES)) == list(CASES)


def test_the_floor_answers() -> None:
    """By a child, with the endpoint's answer."""
    assert fork_for_one(load_endpoint(HELLO)) == HELLO.content
