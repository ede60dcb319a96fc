"""Every attack once more, where it is known to succeed: so its test is able to fail."""

from __future__ import annotations

import os

import httpx
import pytest

from tests.environments import NOBODY
from tests.sandbox.attacks import ATTACKS, AttackRecord
from tests.sandbox.conftest import Weaken, cannot_run
from tests.sandbox.outside import run_outside
from tests.sandbox.services import Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OUTSIDE = tuple(one for one in ATTACKS if one.proof == "bare")
WEAKENED = sorted((one for one in ATTACKS if one.proof != "bare"), key=lambda one: (one.layers, sorted(one.limits)))


@pytest.mark.parametrize("attack", WEAKENED, ids=str)
def test_succeeds_in_a_weaker_sandbox(weaken: Weaken, attack: AttackRecord) -> None:
    """In the same service, without the layers or limits that are in its way."""
    answer = weaken(attack.layers, attack.limits).attack(attack)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["escaped"] is True, f"{attack.tries}: {answer.json()['detail']}"


@pytest.mark.parametrize("attack", OUTSIDE, ids=str)
def test_succeeds_without_a_sandbox(own_service: Service, attack: AttackRecord) -> None:
    """As a plain program of the host, next to a running service."""
    root = os.geteuid() == 0
    if attack.user == "root" and not root:
        cannot_run("only root of the host can do this anywhere, and the tests do not run as root")
    seen = run_outside(attack, own_service, user=NOBODY if root and attack.user == "nobody" else None)
    assert seen["escaped"] is True, f"{attack.tries}: {seen['detail']}"
    assert own_service.lives()


def test_early_attacks_succeed_in_a_weaker_sandbox(weaken: Weaken) -> None:
    """Attacks while a source is imported, likewise."""
    layers = ("capabilities", "landlock", "no_new_privileges", "resource_limits", "seccomp", "unprivileged_user")
    seen = weaken(layers, {}).post("/early").json()
    assert {name for name, result in seen.items() if not result["escaped"]} <= {
        "descriptors.sockets",
        "privileges.user_namespace_by_unshare",
        "processes.read_parent_memory",
    }


def test_there_are_many() -> None:
    """A table that could not be read would let every other test here pass."""
    assert len(ATTACKS) > 150
    assert {one.area for one in ATTACKS} >= {
        *("descriptors", "files", "kernel", "network", "privileges", "processes", "secrets"),
    }
