"""`executor stats`: what finished invocations have cost, from a real listener."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from executor.cli.showing import human_bytes, human_seconds
from executor.figures.registry import Registry
from executor.outcome import Outcome
from tests.executor.figures.support import IDLE, figures, running_admin


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), ["stats", *arguments])


@pytest.fixture
def registry() -> Registry:
    """A registry that nothing was recorded in."""
    return Registry()


@pytest.fixture
def admin(registry: Registry) -> Iterator[str]:
    """The URL of a real admin listener."""
    with running_admin(registry, lambda: IDLE) as url:
        yield url


def test_hooks_are_a_table(registry: Registry, admin: str) -> None:
    """One row each, and one for all of them."""
    for number in range(100):
        registry.record(figures(duration_s=number / 1000))
    registry.record(figures(hook_id="dog", outcome=Outcome.TIMEOUT_WALL, duration_s=600.0))
    registry.record(figures(hook_id="dog", outcome=Outcome.ENDPOINT_RAISED))
    registry.record(figures(hook_id="dog", outcome=Outcome.ENDPOINT_RAISED))
    result = run("--url", admin)
    assert result.exit_code == 0
    header, cat, dog, everything, failures, footer = result.output.splitlines()
    assert header.split() == ["HOOK", "COUNT", "OK", "FAILED", "P50", "P95", "P99", "MAX", "CPU", "MEMORY", "IN", "OUT"]
    assert cat.split()[:4] == ["cat", "100", "100", "0"]
    assert "49.0 ms" in cat
    assert "375 ms" in cat
    assert "32.0 MiB" in cat
    assert dog.split()[:4] == ["dog", "3", "0", "3"]
    assert "10.0 min" in dog
    assert everything.split()[:4] == ["all", "103", "100", "3"]
    assert failures == "dog: endpoint.raised 2, timeout.wall 1"
    assert footer.startswith("endpoint-executor 0.")


def test_nothing_has_happened_yet(admin: str) -> None:
    """Dashes instead of figures."""
    result = run("--url", admin)
    assert result.exit_code == 0
    assert "all" in result.output
    assert " - " in result.output


def test_json_is_the_whole_answer(registry: Registry, admin: str) -> None:
    """For scripts."""
    registry.record(figures())
    document = json.loads(run("--url", admin, "--format", "json").output)
    assert document["hooks"]["cat"]["invocations"] == 1
    assert document == json.loads(json.dumps(document))


def test_help_teaches() -> None:
    """With examples."""
    assert "executor stats --watch 2" in run("--help").output


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024**2, "1.0 MiB"),
        (150 * 1024**2, "150 MiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_sizes_are_short(size_bytes: int | None, shown: str) -> None:
    """Three digits and a unit."""
    assert human_bytes(size_bytes).plain == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.25, "250 ms"),
        (1.0, "1.0 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7200, "2.0 h"),
        (10 * 86400, "10.0 d"),
    ],
)
def test_durations_are_short(seconds: float | None, shown: str) -> None:
    """About three digits and a unit."""
    assert human_seconds(seconds).plain == shown
