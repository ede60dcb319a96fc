"""`docs/security.md`: every promise names the attacks that test it, and every attack belongs to a promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.sandbox.attacks import ATTACKS
from tests.sandbox.deeds import DEEDS

ROOT: Final = Path(__file__).parent.parent
TABLE: Final = re.compile(r"<!-- table: promises -->\n(.*?)<!-- end -->", re.DOTALL)
FEWEST: Final = 80
"""How many attacks there have to be at least."""


def named() -> list[str]:
    """What the promises are held by: areas of attacks, and files of tests."""
    found = TABLE.search((ROOT / "docs" / "security.md").read_text())
    assert found is not None
    cells = [line.strip("| \n").rpartition("|")[2] for line in found[1].splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_promise_is_tested() -> None:
    """What holds it is there, and attacks something."""
    areas = {attack.area for attack in ATTACKS} | {deed.area for deed in DEEDS}
    for name in named():
        if name.endswith(".py"):
            assert (ROOT / "tests" / "sandbox" / name).is_file(), name
        else:
            assert name in areas, name


def test_every_attack_belongs_to_a_promise() -> None:
    """No area of attacks, and no file of tests, without one."""
    promised = set(named())
    assert {attack.area for attack in ATTACKS} <= promised
    helpers = {"test_contained.py", "test_proofs.py", "test_seen_from_outside.py", "test_delegated.py"}
    assert {path.name for path in (ROOT / "tests" / "sandbox").glob("test_*.py")} - helpers <= promised


def test_there_are_enough_attacks() -> None:
    """And no two have the same name."""
    assert len(ATTACKS) >= FEWEST
    assert len({str(attack) for attack in ATTACKS}) == len(ATTACKS)
