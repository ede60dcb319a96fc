"""What is made from the declarations: the reference, the JSON Schema, the effective configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from executor.config.document import parse_document
from executor.config.load import load_config, parse_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.config.places import Source
from executor.config.reference import render_reference, render_schema
from executor.config.show import show_config
from tests.executor.config.support import load, write

DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_committed_reference_is_current() -> None:
    """`executor config reference > docs/settings.md` makes it so."""
    assert DOCUMENT.read_text(encoding="utf-8") == render_reference()


def test_the_reference_tells_everything() -> None:
    """Every setting with a meaning, and none without a kind."""
    reference = render_reference()
    for section, content in Config.model_json_schema()["$defs"].items():
        for name, field in content.get("properties", {}).items():
            assert f".{name}`" in reference
            assert "description" in field, f"{section}.{name}"
    rows = [line for line in reference.splitlines() if line.startswith("| `")]
    assert all(len(row.replace("\\|", "").split("|")) == 6 for row in rows)


def test_the_schema_is_for_files() -> None:
    """Plain JSON, closed, with descriptions; a plugin may be a path."""
    schema = json.loads(json.dumps(render_schema()))
    assert schema["additionalProperties"] is False
    assert schema["properties"]["debug"]["description"]
    assert {"type": "string"} in schema["$defs"]["PluginSource"]["anyOf"]
    assert schema["$defs"]["Limits"]["properties"]["wall_time"]["anyOf"][1]["type"] == "string"


EVERYTHING = """
listen: {port: 9000, host: "::1"}
admin: {allowed_hosts: [a.example]}
cors: {origins: ["https://app.example"]}
trusted_proxies: [10.0.0.0/8]
limits: {wall_time: 30s, queue_length: 5, cpu_share: 0.5, memory: 100 MiB}
isolation: {off: [landlock], ids: {count: 4096}}
plugins: [/plugins/cat, {path: /plugins/dog, limits: {concurrency: 2}}]
hooks:
  cat: {}
  dog: {plugin: dog, enabled: false, settings: {key: {from_env: HOME}}, limits: {log_output: 0}}
  "yes": {settings: {"no": {from_file: /dev/null}}}
"""


@pytest.mark.parametrize("text", ["", EVERYTHING])
def test_what_is_shown_means_the_same_when_it_is_read(tmp_path: Path, text: str) -> None:
    """It can be used as a configuration file, from anywhere."""
    config = load(tmp_path, text)
    again = parse_config(parse_document(show_config(config).encode(), Path("/elsewhere/executor.yaml")))
    expected = config.model_dump() | {"admin": config.admin.model_dump() | {"port": config.admin_port}}
    assert again.model_dump() == expected
    assert again.limits.wall_time == config.limits.wall_time
    assert [hook.values for hook in again.hooks.values()] == [hook.values for hook in config.hooks.values()]


def test_relative_references_are_shown_as_absolute(tmp_path: Path) -> None:
    """So that they lead to the same file."""
    (tmp_path / "key").write_text("x", encoding="utf-8")
    shown = show_config(load(tmp_path, "hooks: {cat: {settings: {key: {from_file: key}}}}"))
    assert f"key: {{from_file: {tmp_path / 'key'}}}" in shown


def test_origins_are_shown(tmp_path: Path) -> None:
    """The file, the option, or that it is the default; and what follows from another value."""
    file = write(tmp_path, "limits:\n  wall_time: 30s\n  cpu_share: 1\n  memory: 64 MiB\n  scratch_size: 32 MiB\n")
    lines = show_config(load_config(file, Overrides(port=1))).splitlines()
    assert f"  wall_time: 30s  # {file}:2:14" in lines
    assert "  # first_byte_time: 30s  # lowered to wall_time" in lines
    assert "  # file_size: 32 MiB  # lowered to scratch_size" in lines
    assert "  # cpu_time: 1m  # not reached: wall_time and cpu_share allow less" in lines
    assert f"  cpu_share: 1.0  # {file}:3:14" in lines
    assert "  port: 1  # --port" in lines
    assert "  port: 2  # default" in lines


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_any_names_of_settings_can_be_shown(settings: dict[str, str]) -> None:
    """What is shown stays YAML, and no value is in it."""
    source = Source(
        data={"hooks": {"cat": {"settings": {name: f"hidden!{value}" for name, value in settings.items()}}}}
    )
    shown = show_config(parse_config(source))
    assert yaml.safe_load(shown)["hooks"]["cat"]["settings"] == {}
    assert "hidden!" not in shown
