"""What the tests of the configuration have in common."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from executor.config.load import load_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError, Problem

__all__ = ["load", "problems_of", "write"]


def write(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    file = folder / "executor.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return file


def load(folder: Path, text: str, overrides: Overrides | None = None) -> Config:
    """Load a configuration from a text."""
    return load_config(write(folder, text), overrides)


def problems_of(folder: Path, text: str, overrides: Overrides | None = None) -> list[Problem]:
    """Load a configuration that cannot be used, and return what is wrong."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, overrides)
    return list(caught.value.problems)
