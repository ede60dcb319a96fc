"""The section `worker`, on its three levels."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from executor.config.effective import effective_worker
from executor.config.show import show_config
from tests.executor.config.support import load, problems_of

LEVELS = """
    worker: {after_response: 1m}
    plugins:
      - ./plain
      - {path: ./patient, worker: {after_response: 2m}}
    hooks:
      first: {plugin: patient, worker: {after_response: 0}}
      other: {plugin: patient}
"""


def test_levels(tmp_path: Path) -> None:
    """The most specific one holds, also where it says 0; hooks that are not configured have those above."""
    config = load(tmp_path, LEVELS)

    def seconds(folder: str, hook_id: str) -> float:
        return effective_worker(config, tmp_path / folder, hook_id).after_response

    assert seconds("plain", "plain") == 60
    assert seconds("patient", "other") == 120
    assert seconds("patient", "first") == 0
    assert effective_worker(config, None, "nobody").after_response == 60
    assert effective_worker(load(tmp_path, ""), None, "nobody").after_response == 0


def test_what_is_shown_means_the_same(tmp_path: Path) -> None:
    """Levels that give nothing are left to inherit."""
    config = load(tmp_path, LEVELS)
    shown = show_config(config)
    assert yaml.safe_load(shown)["hooks"]["other"]["worker"] == {}
    again = load(tmp_path, shown)
    for hook_id in ("first", "other", "plain"):
        for folder in ("plain", "patient"):
            given = [effective_worker(each, tmp_path / folder, hook_id) for each in (config, again)]
            assert given[0] == given[1]


@pytest.mark.parametrize("value", ["-1s", "25h", "soon", "true"])
def test_bounds(tmp_path: Path, value: str) -> None:
    """Durations only, of a day at most."""
    (problem,) = problems_of(tmp_path, f"worker: {{after_response: {value}}}")
    assert problem.name == "worker.after_response"
