"""Builds of environments, as root and rootless: what a source distribution does is contained, whatever it tries.

Each attack has been seen to succeed without the layers that stop it, or under limits that are large enough for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.builds import BUILD_ATTACKS, BuildAttack, Place, open_place
from tests.sandbox.conftest import cannot_run

pytestmark = [pytest.mark.e2e, pytest.mark.attack, pytest.mark.timeout(600)]

ATTACKS = pytest.mark.parametrize("attack", BUILD_ATTACKS, ids=lambda attack: attack.name)
WITHOUT = [attack for attack in BUILD_ATTACKS if attack.off]
ENOUGH = [attack for attack in BUILD_ATTACKS if attack.enough]


@pytest.fixture(scope="module", params=["root", "rootless"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A host with lures, where root builds, or an ordinary user."""
    if request.param == "root" and os.geteuid() != 0:
        cannot_run("the tests do not run as root")
    with open_place(rootless=request.param == "rootless") as place:
        yield place


@ATTACKS
def test_contained(place: Place, attack: BuildAttack) -> None:
    """It gets nothing; there is an environment, or an error that says what was the matter; nothing of it is left."""
    built = place.build(attack, attack.limits)
    assert not built.got
    if attack.ends:
        assert attack.ends in built.error
    elif not attack.limits:
        assert not built.error
    assert place.outside.read_text() == place.canary
    assert place.outside.stat().st_mode & 0o777 == 0o666
    assert not left(place.token)
    assert not list((place.folder / "state" / "environments" / "work").iterdir())


@pytest.mark.parametrize("attack", WITHOUT, ids=lambda attack: attack.name)
def test_seen_without_layers(place: Place, attack: BuildAttack) -> None:
    """Without the layers that stop it, it gets what it wants: its test can fail."""
    if attack.only_root and place.rootless:
        pytest.skip("rootless there is no other id")
    built = place.build(attack, attack.limits, attack.off)
    place.outside.write_text(place.canary)
    assert built.got


@pytest.mark.parametrize("attack", ENOUGH, ids=lambda attack: attack.name)
def test_seen_with_enough(place: Place, attack: BuildAttack) -> None:
    """Under limits that are large enough it gets what it wants."""
    assert place.build(attack, attack.enough).got


def left(token: str) -> list[str]:
    """Processes of this host that have a text in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if token.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
