"""Reads the table of attacks from the hostile plugin, by its path; no attack runs here."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["ATTACKS", "HOSTILE", "AttackRecord"]

HOSTILE: Final = Path(__file__).parent.parent / "plugins" / "hostile"


class AttackRecord(NamedTuple):
    """What a test needs to know of an attack; see `attacks/__init__.py` of the plugin."""

    area: str
    name: str
    tries: str
    proof: str
    layers: tuple[str, ...]
    limits: Mapping[str, object]
    user: str
    ends: tuple[str, ...]

    def __str__(self) -> str:
        """Name it as pytest's `-k` takes it."""
        return f"{self.area}.{self.name}"


def _load() -> Any:
    """Import the plugin's package `attacks`, leaving no trace of it among the modules of the tests."""
    before = set(sys.modules)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(HOSTILE))
    try:
        for path in sorted((HOSTILE / "attacks").glob("*.py")):
            importlib.import_module("attacks" if path.stem == "__init__" else f"attacks.{path.stem}")
        return sys.modules["attacks"]
    finally:
        sys.path.remove(str(HOSTILE))
        sys.dont_write_bytecode = written
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "attacks":
                del sys.modules[name]


def _read() -> tuple[AttackRecord, ...]:
    return tuple(
        AttackRecord(
            area=one.area,
            name=one.name,
            tries=one.tries,
            proof=one.proof.kind,
            layers=tuple(sorted(one.proof.layers)),
            limits=one.proof.limits,
            user=one.proof.user,
            ends=one.ends,
        )
        for one in _load().TABLE.values()
        if not one.machines or platform.machine() in one.machines
    )


ATTACKS: Final = _read()
"""All attacks that exist on this machine."""
