"""Levels of limits: the most specific one wins, and nothing is higher than the limit that holds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.config.effective import Effective, Level, effective_limits, explain_limits
from executor.config.limits import Limits
from executor.config.load import parse_config
from executor.config.model import Config
from executor.config.places import Source
from executor.hooks import bind_hooks
from tests.executor.config.support import load

ROOT = Path("/plugins/cat")
EXAMPLE = Path(__file__).parents[3] / "examples" / "rainbow_cat"
MIB = 1024**2


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
    assert cat["concurrency"] == Effective(30, Level.HOOK, ("hooks", "cat", "limits", "concurrency"))
    assert cat["queue_length"] == Effective(20, Level.PLUGIN, ("plugins", 0, "limits", "queue_length"))
    assert cat["log_line"] == Effective(1024, Level.GENERAL, ("limits", "log_line"))
    assert cat["request_body"] == Effective(128 * 1024**2, Level.DEFAULT)
    assert explain_limits(config, Path("/plugins/dog"), "dog")["concurrency"].level is Level.GENERAL
    assert explain_limits(config, None, "cat")["queue_length"].level is Level.GENERAL


def test_a_value_equal_to_the_default_counts_as_given(tmp_path: Path) -> None:
    """A hook can go back to it."""
    config = load(tmp_path, "limits: {concurrency: 1}\nhooks: {cat: {limits: {concurrency: 32}}}")
    concurrency = explain_limits(config, None, "cat")["concurrency"]
    assert (concurrency.value, concurrency.level) == (32, Level.HOOK)


def test_shorter_wall_times_lower_the_other_times(tmp_path: Path) -> None:
    """One value is enough; the level is that of the wall time."""
    config = load(tmp_path, "limits: {first_byte_time: 5s}\nhooks: {cat: {limits: {wall_time: 2s}}}")
    cat = explain_limits(config, None, "cat")
    wall_time = ("hooks", "cat", "limits", "wall_time")
    assert cat["first_byte_time"] == Effective(2.0, Level.HOOK, wall_time, lowered_to="wall_time")
    assert cat["idle_time"] == Effective(2.0, Level.HOOK, wall_time, lowered_to="wall_time")
    assert explain_limits(config, None, "dog")["first_byte_time"].value == 5.0


def test_less_memory_lowers_the_scratch_folder_and_its_files(tmp_path: Path) -> None:
    """One after the other."""
    config = load(tmp_path, "limits: {scratch_size: 100 MiB}\nhooks: {cat: {limits: {memory: 32 MiB}}}")
    cat = explain_limits(config, None, "cat")
    memory = ("hooks", "cat", "limits", "memory")
    assert cat["scratch_size"] == Effective(32 * MIB, Level.HOOK, memory, lowered_to="memory")
    assert cat["file_size"] == Effective(32 * MIB, Level.HOOK, memory, lowered_to="scratch_size")


def test_cpu_time_is_not_lowered(tmp_path: Path) -> None:
    """Else it would run out together with the wall time, and either outcome were possible."""
    config = load(tmp_path, "limits: {wall_time: 1s, cpu_share: 0.5}")
    assert explain_limits(config, None, "cat")["cpu_time"] == Effective(60.0, Level.DEFAULT)


@pytest.mark.parametrize(
    ("limits", "hint", "memory"),
    [
        ("", None, Effective(512 * MIB, Level.DEFAULT)),
        ("", 300 * MIB, Effective(300 * MIB, Level.MANIFEST)),
        ("", 1 * MIB, Effective(256 * MIB, Level.MANIFEST)),
        ("", 512 * MIB, Effective(512 * MIB, Level.DEFAULT)),
        ("", 2**62, Effective(512 * MIB, Level.DEFAULT)),
        ("memory: 1 GiB", 600 * MIB, Effective(600 * MIB, Level.MANIFEST)),
        ("memory: 64 MiB", 1 * MIB, Effective(64 * MIB, Level.GENERAL, ("limits", "memory"))),
        ("memory: 64 MiB", 300 * MIB, Effective(64 * MIB, Level.GENERAL, ("limits", "memory"))),
    ],
)
def test_the_manifest_can_lower_memory(tmp_path: Path, limits: str, hint: int | None, memory: Effective) -> None:
    """It is a hint: never more than the general limit, and not below what an endpoint needs."""
    config = load(tmp_path, f"limits: {{{limits}}}")
    assert explain_limits(config, None, "cat", memory_hint_bytes=hint)["memory"] == memory
    assert effective_limits(config, None, "cat", memory_hint_bytes=hint).memory == memory.value


def test_hooks_are_bound_with_the_hint_of_their_manifest(tmp_path: Path) -> None:
    """Which for this plugin is 256 MiB."""
    config = load(tmp_path, f"plugins: [{EXAMPLE}]\nhooks: {{rainbow_cat: {{settings: {{webhook_secret: x}}}}}}")
    assert bind_hooks(config).hooks["rainbow_cat"].limits.memory == 256 * MIB


@pytest.mark.parametrize(
    "text",
    [
        "plugins: [{path: /plugins/cat, limits: {memory: 400 MiB}}]",
        "hooks: {cat: {limits: {memory: 400 MiB}}}",
    ],
)
def test_whoever_gives_memory_for_the_plugin_or_the_hook_knows_better(tmp_path: Path, text: str) -> None:
    """The manifest does not count then."""
    limits = effective_limits(load(tmp_path, text), ROOT, "cat", memory_hint_bytes=300 * MIB)
    assert limits.memory == 400 * MIB


def test_a_manifest_that_lowers_memory_lowers_what_lives_in_it(tmp_path: Path) -> None:
    """As if it had been given."""
    config = load(tmp_path, "limits: {scratch_size: 400 MiB}")
    explained = explain_limits(config, None, "cat", memory_hint_bytes=1)
    assert explained["scratch_size"] == Effective(256 * MIB, Level.MANIFEST, lowered_to="memory")


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
        "memory": st.integers(32 * MIB, 1024 * MIB),
        "scratch_size": st.integers(1 * MIB, 1024 * MIB),
        "file_size": st.integers(1 * MIB, 1024 * MIB),
    },
)


@given(PARTS, PARTS, PARTS, st.none() | st.integers(1, 1024 * MIB))
def test_every_combination_has_whole_and_consistent_limits(
    general: dict[str, int], plugin: dict[str, int], hook: dict[str, int], hint: int | None
) -> None:
    """Whatever the levels say."""
    config = Config.model_validate(
        {"limits": general, "plugins": [{"path": str(ROOT), "limits": plugin}], "hooks": {"cat": {"limits": hook}}}
    )
    limits = effective_limits(config, ROOT, "cat", memory_hint_bytes=hint)
    assert limits.model_fields_set == set(Limits.model_fields)
    assert limits.wall_time == {"wall_time": 600, **general, **plugin, **hook}["wall_time"]
    assert limits.concurrency == {"concurrency": 32, **general, **plugin, **hook}["concurrency"]
    assert limits.first_byte_time <= limits.wall_time
    assert limits.idle_time <= limits.wall_time
    assert limits.file_size <= limits.scratch_size <= limits.memory
    assert limits.memory <= {"memory": 512 * MIB, **general, **plugin, **hook}["memory"]


def test_limits_of_a_configuration_without_a_file_are_the_defaults() -> None:
    """All of them."""
    assert effective_limits(parse_config(Source()), None, "cat") == Limits()
