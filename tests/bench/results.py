"""What was measured, as it is kept in build/bench/results.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.machine import describe_machine
from tests.bench.sdk import ROOT

__all__ = ["RESULTS_FILE", "Measurement", "Results"]

RESULTS_FILE: Final = ROOT / "build" / "bench" / "results.json"


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figures of one case on one system in one round.

    Attributes:
        case: Name of the case.
        system: Name of the system.
        round: From 1.
        figures: By name.
    """

    case: str
    system: str
    round: int
    figures: dict[str, float]


@dataclass(kw_only=True, slots=True)
class Results:
    """One run.

    Attributes:
        machine: What it ran on: names and values, for people.
        options: How much was measured.
        measurements: What was found.
        skipped: Systems that were left out, with the reason.
        failures: What went wrong: such a case has no figures for that round.
    """

    machine: dict[str, str] = field(default_factory=describe_machine)
    options: dict[str, object] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def values(self, case: str, system: str, figure: str) -> dict[int, float]:
        """Return one figure by round."""
        return {
            one.round: one.figures[figure]
            for one in self.measurements
            if (one.case, one.system) == (case, system) and figure in one.figures
        }

    def save(self, path: Path) -> None:
        """Write everything to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            OSError: There is no such file.
            ValueError: It is not one of ours.
        """
        content = json.loads(path.read_text(encoding="utf-8"))
        try:
            measurements = [Measurement(**one) for one in content.pop("measurements")]
            return cls(measurements=measurements, **content)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} does not hold results: {error}") from error
