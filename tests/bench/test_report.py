"""Results become the page that they should, and nothing else of the page changes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.__main__ import create_parser, main, read_options
from tests.bench.bench import with_needed
from tests.bench.cases import CASES, FIGURES
from tests.bench.chart import Scale, draw_chart
from tests.bench.report import DOCUMENT, RATIOS, draw_report, insert_report, write_number, write_spread
from tests.bench.results import Measurement, Results
from tests.bench.statistics import Spread
from tests.bench.systems import SYSTEMS


def some_results() -> Results:
    """Two rounds of one case, on three systems; one was left out and one failed."""
    results = Results(machine={"cores": "2"}, options={"rounds": 2, "seconds": 5.0})
    for number, factor in ((1, 1.0), (2, 2.0)):
        for system, value in (("executor", 3.0), ("fork", 2.0), ("fresh", 120.0)):
            figures = {"cpu_ms": value * factor, "p50_ms": value}
            results.measurements.append(Measurement("hello", system, number, figures))
    results.skipped["bwrap"] = "not installed"
    results.failures.append("hello on sdk, round 1: it broke")
    return results


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    """More would pretend to know more."""
    assert write_number(value) == text


def test_a_spread_shows_its_range_if_it_has_one() -> None:
    """One value has none."""
    assert write_spread(Spread(2, 1, 3, 3)) == "2.00 (1.00..3.00)"
    assert write_spread(Spread(2, 2, 2, 1)) == "2.00"


def test_the_report_has_figures_ratios_and_what_is_missing() -> None:
    """Ratios are those of rounds: 1.5 in both, though the figures doubled."""
    report = draw_report(some_results())
    assert "| CPU per W1 / that of the fork floor | 1.50 (1.50..1.50) |" in report
    assert (
        "| `hello` | CPU, ms/request | 4.50 (3.00..6.00) | - | 3.00 (2.00..4.00) | 180 (120..240) | - | - |" in report
    )
    assert "- `bwrap`: not installed" in report
    assert "- hello on sdk, round 1: it broke" in report
    assert "cores: 2; rounds: 2 of 5.0 s." in report


def test_a_short_run_says_so() -> None:
    """Few rounds or short ones; a third round makes it a run that counts."""
    results = some_results()
    assert "short run" in draw_report(results)
    results.measurements.append(Measurement("hello", "executor", 3, {}))
    assert "short run" not in draw_report(results)
    results.options["seconds"] = 0.5
    assert "short run" in draw_report(results)


def test_ratios_are_of_figures_that_there_are() -> None:
    """Names of cases, systems and figures are right."""
    for ratio in RATIOS:
        for case, system, figure in (ratio.over, ratio.under):
            assert case in CASES
            assert system in SYSTEMS
            assert figure in FIGURES


def test_a_report_replaces_the_last_one() -> None:
    """The text around it stays; a page without a place for it is refused."""
    page = "# A\n\n<!-- table: performance -->\nold\n<!-- end -->\n\ntext\n"
    once = insert_report(page, "new \\1\n")
    assert once == page.replace("old", "new \\1")
    assert insert_report(once, "newer\n") == page.replace("old", "newer")
    with pytest.raises(ValueError, match="0 places"):
        insert_report("# A\n", "new\n")
    insert_report(DOCUMENT.read_text(encoding="utf-8"), "new\n")


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    """And other files are refused."""
    results, path = some_results(), tmp_path / "folder" / "results.json"
    results.save(path)
    assert Results.load(path) == results
    path.write_text("[]")
    with pytest.raises(ValueError, match="does not hold results"):
        Results.load(path)


def test_the_chart_has_a_bar_for_each_system_that_was_measured() -> None:
    """In two panels, as well-formed XML, ours marked."""
    chart = ET.fromstring(draw_chart(some_results()))  # noqa: S314 - our own
    bars = [one for one in chart.iter("{http://www.w3.org/2000/svg}rect") if one.get("class") in {"bar", "ours"}]
    assert [bar.get("class") for bar in bars] == ["ours", "bar", "bar"] * 2
    assert float(bars[2].get("width", 0)) > float(bars[0].get("width", 0)) > float(bars[1].get("width", 0)) > 0
    assert "<rect" in draw_chart(Results(machine={}))


def test_a_scale_is_logarithmic() -> None:
    """Over whole powers of ten, with room for the smallest value."""
    scale = Scale.over([0.2, 30.0], 300)
    assert (scale.low, scale.high) == (-1, 2)
    assert [round(scale.place(value)) for value in (0.1, 1, 10, 100)] == [0, 100, 200, 300]
    assert Scale.over([1.0], 300).low == -1


def test_a_case_brings_what_it_needs() -> None:
    """In the order in which they are measured."""
    assert with_needed(["hello-half", "cold"]) == ["cold", "hello-16", "hello-half"]


def test_quick_is_the_default_for_what_is_not_said() -> None:
    """An option wins over `--quick`."""
    options = read_options(create_parser().parse_args(["--quick", "--burst", "3"]))
    assert (options.rounds, options.burst) == (1, 3)
    assert read_options(create_parser().parse_args([])).rounds == 5


@pytest.mark.parametrize(
    "words",
    [
        ["--cases", "nothing"],
        ["--systems", ""],
        ["--rounds", "0"],
        ["--seconds", "nan"],
        ["--hooks", "many"],
        ["--plugins", "1"],
        ["--streams", "0"],
    ],
)
def test_mistakes_on_the_command_line_are_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With what can be said instead."""
    with pytest.raises(SystemExit):
        create_parser().parse_args(words)
    assert words[0] in capsys.readouterr().err


def test_help_names_every_case_and_system(capsys: pytest.CaptureFixture[str]) -> None:
    """With what they mean."""
    with pytest.raises(SystemExit):
        create_parser().parse_args(["--help"])
    text = capsys.readouterr().out
    for name in (*CASES, *SYSTEMS):
        assert f"\n  {name} " in text


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Instead of a traceback."""
    assert main(["--from", str(tmp_path / "none")]) == 1
    assert "error: " in capsys.readouterr().err
