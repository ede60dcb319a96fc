"""The rounds: every case on every system, one system after the other, so that none has the machine's better hours.

In each round all systems that listen are started at its beginning and run to its end; those that are not being
measured rest. Every second round goes through the systems backwards.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.cases import CASES, Case, measure_cold, measure_direct
from tests.bench.machine import describe_layers
from tests.bench.measuring import Figures, Options, WrongAnswersError
from tests.bench.results import Measurement, Results
from tests.bench.sdk import sdk_version
from tests.bench.systems import DirectSystem, HttpSystem, OurService, Unavailable, create_system

__all__ = ["Bench", "with_needed"]

System = HttpSystem | DirectSystem
TROUBLE = (WrongAnswersError, OSError, RuntimeError, ValueError, AssertionError, subprocess.SubprocessError)
"""What a measurement may fail with; the others go on."""


def with_needed(names: Sequence[str]) -> list[str]:
    """Return the names of cases in their order, with those that they need."""
    needed = {*names, *(needs for name in names if (needs := CASES[name].needs))}
    return [name for name in CASES if name in needed]


class Bench:
    """One run.

    Args:
        options: How much is measured.
        cases: Names of cases.
        systems: Names of systems.
        save_to: Where results are written after each round.

    Attributes:
        results: What was found so far.
    """

    def __init__(self, options: Options, cases: Sequence[str], systems: Sequence[str], save_to: Path) -> None:
        self._options = options
        self._cases = [CASES[name] for name in with_needed(cases)]
        self._systems = list(systems)
        self._save_to = save_to
        self.results = Results(options=asdict(options))

    def run(self) -> None:
        """Measure everything."""
        for number in range(1, self._options.rounds + 1):
            with contextlib.ExitStack() as running:
                self._run_round(number, list(self._start_all(number, running)))
            self.results.save(self._save_to)

    def _start_all(self, number: int, running: contextlib.ExitStack) -> Iterator[System]:
        """Start what listens, and measure how it starts; leave out what cannot be had."""
        for name in self._systems:
            if name in self.results.skipped:
                continue
            try:
                system = create_system(name, self._options.sdk_python)
                if isinstance(system, HttpSystem):
                    system.start()
                    running.callback(system.stop)
            except Unavailable as reason:
                self.results.skipped[name] = str(reason)
                _say(f"without {name}: {reason}")
                continue
            except TROUBLE as error:
                self._note_failure(number, "start", name, error)
                continue
            self._note_facts(system)
            if isinstance(system, HttpSystem) and any(case.name == "cold" for case in self._cases):
                self._measure(number, CASES["cold"], system, {})
            yield system

    def _run_round(self, number: int, systems: list[System]) -> None:
        if number % 2 == 0:
            systems.reverse()
        found: dict[str, dict[str, Figures]] = {system.name: {} for system in systems}
        for case in self._cases:
            if case.name in {"cold", *self.results.skipped} or (case.once and number < self._options.rounds):
                continue
            for system in systems:
                if _is_for(case, system):
                    self._measure(number, case, system, found[system.name])

    def _measure(self, number: int, case: Case, system: System, before: dict[str, Figures]) -> None:
        try:
            if isinstance(system, DirectSystem):
                figures = measure_direct(system, self._options)
            elif case.measure is None:
                figures = measure_cold(system)
            else:
                if case.needs is not None and case.needs not in before:
                    return  # it failed, which was told
                figures = case.measure(system, self._options, before)
        except Unavailable as reason:
            self.results.skipped[case.name] = str(reason)
            _say(f"without {case.name}: {reason}")
            return
        except TROUBLE as error:
            self._note_failure(number, case.name, system.name, error)
            return
        before[case.name] = figures
        self.results.measurements.append(Measurement(case.name, system.name, number, figures))
        self._say_result(
            number, case.name, system.name, " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        )

    def _note_failure(self, number: int, case: str, system: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        self.results.failures.append(f"{case} on {system}, round {number}: {text}")
        self._say_result(number, case, system, f"FAILED: {text}")

    def _note_facts(self, system: System) -> None:
        if isinstance(system, OurService):
            self.results.machine["isolation"] = describe_layers(system.admin_url)
        if system.name == "sdk":
            self.results.machine["SDK"] = f"dify_plugin {sdk_version()}"

    def _say_result(self, number: int, case: str, system: str, text: str) -> None:
        _say(f"round {number}/{self._options.rounds}  {case:<12} {system:<10}  {text}")


def _is_for(case: Case, system: System) -> bool:
    if isinstance(system, DirectSystem):
        return case.systems == "all"
    return case.systems != "executor" or system.name == "executor"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
