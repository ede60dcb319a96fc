"""`make bench`, or `python -m tests.bench`: measures our service against what there is instead of it."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from tests.bench.bench import Bench
from tests.bench.cases import CASES
from tests.bench.chart import draw_chart
from tests.bench.measuring import Options
from tests.bench.report import draw_report, write_page
from tests.bench.results import RESULTS_FILE, Results
from tests.bench.systems import SYSTEMS

__all__ = ["create_parser", "main", "read_options"]

Number = TypeVar("Number", int, float)

DESCRIPTION: Final = """\
Measures our service against what there is instead of it: one system after the other, in several rounds. Nothing else
should run meanwhile. All of it takes about half an hour; progress is told on standard error, the tables go to
standard output, and everything is kept in build/bench/results.json.
"""

EXAMPLES: Final = """\
examples:
  make bench                                             measure everything, print the tables
  make bench ARGS=--write                                ... and put them into docs/performance.md
  make bench ARGS="--cases hello --systems executor,fork --rounds 9"
                                                         only CPU against the floor, but thoroughly
  make bench ARGS=--quick                                see that everything works; the figures mean nothing
  make bench ARGS="--from build/bench/results.json --write"
                                                         write the page from what was measured before

A figure is the median of its rounds, with the smallest and the largest in brackets. Ratios are taken within a round.
docs/performance.md says what is measured, docs/decisions/0014-bench.md why in this way.
"""

QUICK: Final = Options(rounds=1, seconds=0.5, requests=60, burst=20, hooks=50, plugins=5, streams=10)


def _names(known: dict[str, str]) -> str:
    return "\n".join(f"  {name:<12} {meaning}" for name, meaning in known.items())


def create_parser() -> argparse.ArgumentParser:
    """Build what reads the command line."""
    cases = {name: case.meaning for name, case in CASES.items()}
    epilog = f"cases:\n{_names(cases)}\n\nsystems:\n{_names(SYSTEMS)}\n\n{EXAMPLES}"
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=DESCRIPTION,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Options()
    add = parser.add_argument
    add("--cases", metavar="NAMES", type=_choose(list(CASES)), default=list(CASES), help="cases, by comma (all)")
    add(
        "--systems", metavar="NAMES", type=_choose(list(SYSTEMS)), default=list(SYSTEMS), help="systems, by comma (all)"
    )
    add("--rounds", metavar="N", type=_at_least(int, 1), help=f"how often each is measured ({defaults.rounds})")
    add("--seconds", metavar="S", type=_at_least(float, 0.1), help=f"for how long each time ({defaults.seconds:g})")
    add("--requests", metavar="N", type=_at_least(int, 3), help=f"requests of the long run ({defaults.requests})")
    add("--burst", metavar="N", type=_at_least(int, 1), help=f"requests at once in the burst ({defaults.burst})")
    add("--hooks", metavar="N", type=_at_least(int, 2), help=f"hooks where there are many ({defaults.hooks})")
    add("--plugins", metavar="N", type=_at_least(int, 2), help=f"plugins where there are many ({defaults.plugins})")
    add("--streams", metavar="N", type=_at_least(int, 1), help=f"slow streams open at once ({defaults.streams})")
    add("--sdk-python", metavar="PATH", help="Python for Dify's SDK; a newer one gets a newer SDK (our own)")
    add("--quick", action="store_true", help="one round of everything with tiny numbers, which mean nothing")
    add("--write", action="store_true", help="put the tables into docs/performance.md, and draw docs/performance.svg")
    add("--from", dest="file", metavar="FILE", type=Path, help="measure nothing; take the results of an earlier run")
    add("--results", metavar="FILE", type=Path, default=RESULTS_FILE, help="where to keep the results")
    return parser


def _choose(known: list[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"not known: {', '.join(unknown)}; choose from {', '.join(known)}")
        return chosen

    return names


def _at_least(kind: type[Number], least: Number) -> Callable[[str], Number]:
    def number(text: str) -> Number:
        value = kind(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected {least} or more, got {text}")
        return value

    return number


def read_options(arguments: argparse.Namespace) -> Options:
    """Return how much is to be measured: what was said, and what `--quick` or the defaults say for the rest."""
    names = ("rounds", "seconds", "requests", "burst", "hooks", "plugins", "streams", "sdk_python")
    said = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return replace(QUICK if arguments.quick else Options(), **said)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, or read what was measured, and tell.

    Returns:
        0, or 1 when something could not be measured that should have been.
    """
    arguments = create_parser().parse_args(words)
    if arguments.file is not None:
        try:
            results = Results.load(arguments.file)
        except (OSError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    else:
        _raise_descriptor_limit()
        bench = Bench(read_options(arguments), arguments.cases, arguments.systems, arguments.results)
        bench.run()
        results = bench.results
    print(draw_report(results))
    if arguments.write:
        write_page(results, draw_chart(results))
    return 1 if results.failures else 0


def _raise_descriptor_limit() -> None:
    """Let all that is started have the descriptors that the system allows: many streams are many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
