"""The section `isolation`: which layers must hold, which are off, and the ids of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.document import parse_document
from executor.config.load import load_config, parse_config
from executor.config.reference import render_reference, render_schema
from executor.config.show import show_config
from executor.isolation.layers import DEFAULT_REQUIRED, LAYER_NAMES, LAYERS
from tests.executor.config.support import load, problems_of


def test_the_defaults_protect() -> None:
    """Nothing is off, and what others depend on is required."""
    isolation = load_config(None).isolation
    assert isolation.off == ()
    assert isolation.require == DEFAULT_REQUIRED
    assert (isolation.ids.first, isolation.ids.count) == (2_000_000_000, 8192)


def test_layers_that_are_off_are_not_required(tmp_path: Path) -> None:
    """One value is enough, and is not to be overlooked."""
    config = load(tmp_path, "isolation:\n  off: [seccomp, landlock]\n")
    assert config.isolation.off == ("seccomp", "landlock")
    assert config.isolation.require == tuple(name for name in DEFAULT_REQUIRED if name != "seccomp")
    (warning,) = config.notes
    assert (warning.severity, warning.name, warning.place.line) == ("warning", "isolation.off", 2)
    assert "ISOLATION IS WEAKENED: seccomp, landlock" in warning.message


def test_more_can_be_required(tmp_path: Path) -> None:
    """Up to everything."""
    config = load(tmp_path, f"isolation: {{require: [{', '.join(LAYER_NAMES)}]}}")
    assert config.isolation.require == LAYER_NAMES
    assert config.notes == ()


def test_requiring_less_is_told(tmp_path: Path) -> None:
    """With the layers in question; those that are always on are not among them."""
    (warning,) = load(tmp_path, "isolation: {require: [seccomp, landlock]}").notes
    assert (warning.severity, warning.name) == ("warning", "isolation.require")
    assert "network_namespace" in warning.message
    assert "pid_namespace" not in warning.message
    assert "seccomp" not in warning.message
    (warning,) = load(tmp_path, "isolation: {require: []}").notes
    assert "seccomp" in warning.message


@pytest.mark.parametrize("text", ["isolation:", "isolation: {off: , require: , ids: }"])
def test_empty_parts_are_the_defaults(tmp_path: Path, text: str) -> None:
    """As in other sections."""
    assert load(tmp_path, text).isolation == load_config(None).isolation


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("{off: [pid_namespace]}", "isolation.off[0]", "cannot be switched off"),
        ("{off: [seccomp], require: [seccomp]}", "isolation.off[0]", "is in isolation.require as well"),
        ("{off: [secomp]}", "isolation.off[0]", "expected a layer, one of user_namespace, pid_namespace"),
        ("{require: [everything]}", "isolation.require[0]", "expected a layer"),
        ("{off: seccomp}", "isolation.off", "expected a list"),
        ("{ids: {first: 999}}", "isolation.ids.first", "from 1000 to 4294967294"),
        ("{ids: {first: 4294967294}}", "isolation.ids.first", "begin at 4294959102 or lower"),
        ("{ids: {first: 4294967201, count: 200}}", "isolation.ids.first", "begin at 4294967094 or lower"),
        ("{ids: {count: 62}}", "isolation.ids.count", "from 64 to"),
        ("{ids: {count: 201}}", "isolation.ids.count", "must be even"),
        ("{ids: {begin: 1000}}", "isolation.ids.begin", "there are first, count"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    """With the name, the place and the reason."""
    (problem,) = [found for found in problems_of(tmp_path, f"isolation: {text}") if found.severity == "error"]
    assert problem.name == name
    assert message in problem.message
    assert problem.place.line is not None


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("isolation: {ids: {first: 65535}}", "isolation.ids.first", "65534 is nobody"),
        ("isolation: {ids: {count: 64}}", "isolation.ids.count", "no more than 31 workers"),
        ("admission: {concurrency: 5000}", "isolation.ids.count", "no more than 4095 workers"),
    ],
)
def test_what_is_doubtful_gets_a_note(tmp_path: Path, text: str, name: str, message: str) -> None:
    """And is accepted."""
    (note,) = load(tmp_path, text).notes
    assert (note.severity, note.name) == ("note", name)
    assert message in note.message


@pytest.mark.parametrize("ids", ["{first: 4294967094, count: 200}", "{first: 65536}", "{count: 130}"])
def test_ids_at_the_bounds_are_accepted(tmp_path: Path, ids: str) -> None:
    """Without a word."""
    assert load(tmp_path, f"isolation: {{ids: {ids}}}").notes == ()


@pytest.mark.parametrize("text", ["{off: [seccomp]}", "{require: []}", "{ids: {first: 70000, count: 1000}}"])
def test_what_is_shown_means_the_same_when_it_is_read(tmp_path: Path, text: str) -> None:
    """Also the layers that are required because nobody has said so."""
    config = load(tmp_path, f"isolation: {text}")
    again = parse_config(parse_document(show_config(config).encode()))
    assert again.isolation == config.isolation


def test_the_name_off_needs_no_quotes() -> None:
    """Neither in blocks nor in flows, at any depth; a value stays what it is in YAML 1.1."""
    text = b"""
debug: off
limits: {}
isolation: {require: [off, {off: off}], off: [off]}
hooks: {"off": {off: {}}}
off:
- off: 1
"""
    assert parse_document(text).data == {
        "debug": False,
        "limits": {},
        "isolation": {"require": [False, {"off": False}], "off": [False]},
        "hooks": {"off": {"off": {}}},
        "off": [{"off": 1}],
    }


def test_the_documents_list_the_layers() -> None:
    """The reference in a table, the schema as the only texts that there may be."""
    reference = render_reference()
    for layer in LAYERS:
        assert f"| `{layer.name}` | " in reference
    properties = render_schema()["$defs"]["Isolation"]["properties"]
    assert properties["off"]["items"]["enum"] == list(LAYER_NAMES)
