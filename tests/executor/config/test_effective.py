"""Levels of limits: the most specific one wins, and nothing outlasts the wall time."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from executor.config.effective import Effective, Level, effective_limits, explain_limits
from executor.config.limits import Limits
from executor.config.load import parse_config
from executor.config.model import Config
from executor.config.places import Source
from tests.executor.config.support import load

ROOT = Path("/plugins/cat")


def test_the_most_specific_level_wins(tmp_path: Path) -> None:
    """Each limit for itself."""
    config = load(
        tmp_path,
        """
        limits: {concurrency: 10, queue_length: 10, log_line: 1 KiB}
        plugins: [{path: /plugins/cat, limits: {concurrency: 20, queue_length: 20}}, /plugins/dog]
        hooks: {cat: {limits: {concurrency: 30}}}
        """,
    )
    cat = explain_limits(config, ROOT, "cat")
    assert cat["concurrency"] == Effective(30, Level.HOOK)
    assert cat["queue_length"] == Effective(20, Level.PLUGIN)
    assert cat["log_line"] == Effective(1024, Level.GENERAL)
    assert cat["request_body"] == Effective(128 * 1024**2, Level.DEFAULT)
    assert explain_limits(config, Path("/plugins/dog"), "dog")["concurrency"] == Effective(10, Level.GENERAL)
    assert explain_limits(config, None, "cat")["queue_length"] == Effective(10, Level.GENERAL)


def test_a_value_equal_to_the_default_counts_as_given(tmp_path: Path) -> None:
    """A hook can go back to it."""
    config = load(tmp_path, "limits: {concurrency: 1}\nhooks: {cat: {limits: {concurrency: 32}}}")
    assert explain_limits(config, None, "cat")["concurrency"] == Effective(32, Level.HOOK)


def test_shorter_wall_times_lower_the_other_times(tmp_path: Path) -> None:
    """One value is enough; the level is that of the wall time."""
    config = load(tmp_path, "limits: {first_byte_time: 5s}\nhooks: {cat: {limits: {wall_time: 2s}}}")
    cat = explain_limits(config, None, "cat")
    assert cat["first_byte_time"] == Effective(2.0, Level.HOOK, lowered=True)
    assert cat["idle_time"] == Effective(2.0, Level.HOOK, lowered=True)
    assert explain_limits(config, None, "dog")["first_byte_time"] == Effective(5.0, Level.GENERAL)


def test_a_plugin_is_found_through_a_link(tmp_path: Path) -> None:
    """The configuration may name it in another way than the catalog does."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    config = load(tmp_path, "plugins: [{path: ./link, limits: {concurrency: 7}}]")
    assert effective_limits(config, tmp_path / "real", "cat").concurrency == 7


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "wall_time": st.integers(1, 600),
        "first_byte_time": st.integers(1, 600),
        "idle_time": st.integers(1, 600),
        "concurrency": st.integers(1, 64),
    },
)


@given(PARTS, PARTS, PARTS)
def test_every_combination_has_whole_and_consistent_limits(
    general: dict[str, int], plugin: dict[str, int], hook: dict[str, int]
) -> None:
    """Whatever the levels say."""
    config = Config.model_validate(
        {"limits": general, "plugins": [{"path": str(ROOT), "limits": plugin}], "hooks": {"cat": {"limits": hook}}}
    )
    limits = effective_limits(config, ROOT, "cat")
    assert limits.model_fields_set == set(Limits.model_fields)
    assert limits.wall_time == {"wall_time": 600, **general, **plugin, **hook}["wall_time"]
    assert limits.concurrency == {"concurrency": 32, **general, **plugin, **hook}["concurrency"]
    assert limits.first_byte_time <= limits.wall_time
    assert limits.idle_time <= limits.wall_time


def test_limits_of_a_configuration_without_a_file_are_the_defaults() -> None:
    """All of them."""
    assert effective_limits(parse_config(Source()), None, "cat") == Limits()
