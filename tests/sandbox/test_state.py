"""One request leaves something, the next one of its hook, in the same slot, looks for it: there is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.sandbox import attacks
from tests.sandbox.arena import Arena, open_arena
from tests.sandbox.conftest import user_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TRACES: Final = attacks._load().state.TRACES
NAMES: Final = tuple(TRACES)
PLAIN: Final = tuple(name for name in NAMES if TRACES[name].proof is None)
"""Those that can be left, to be found in the same request."""

WEAKENED: Final = tuple(name for name in NAMES if TRACES[name].proof is not None)
"""Those that cannot even be left, unless layers are off."""


def ask(arena: Arena, step: str, name: str) -> dict[str, Any]:
    """Leave a trace, look for it, or both."""
    answer = arena.post("hostile", f"/state/{step}/{name}")
    assert answer.status_code == httpx.codes.OK, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.fixture(scope="module", params=["root", "rootless"])
def arena(request: pytest.FixtureRequest, plugins: Path) -> Iterator[Arena]:
    """Start a service that begins with a request when the one before has ended, and takes the slot of that one."""
    user = user_for(request.param)
    with open_arena(plugins, {}, user=user, limits={"concurrency": 1}) as arena:
        arena.hello()
        arena.executor.wait_metric('executor_slots{state="busy"}', 0)
        yield arena
        assert arena.executor.own_failures() == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found(arena: Arena, name: str) -> None:
    """Whatever the one has left, the other sees a worker as it always is."""
    left = ask(arena, "leave", name)
    found = ask(arena, "look", name)
    assert found["found"] is None, f"{TRACES[name].what}: {found['found']}"
    assert (left["number"], found["number"]) == (2, 2)
    assert left["slot"] == found["slot"]


def test_random_numbers_differ(arena: Arena) -> None:
    """Workers have a common ancestor, and its generator; each has to seed it anew."""
    assert len({ask(arena, "look", "module")["random"] for _ in range(4)}) == 4


@pytest.mark.parametrize("name", PLAIN)
def test_a_trace_is_found_in_the_same_request(arena: Arena, name: str) -> None:
    """Who leaves and looks within one worker does find it: the look is able to."""
    seen = ask(arena, "both", name)
    assert seen["found"] is not None, seen


@pytest.fixture(scope="module")
def weaker(plugins: Path) -> Iterator[Arena]:
    """Start a service in which the traces can be left that otherwise cannot."""
    layers = sorted({layer for name in WEAKENED for layer in TRACES[name].proof.layers})
    with open_arena(plugins, {}, off=layers) as arena:
        yield arena


@pytest.mark.parametrize("name", WEAKENED)
def test_a_trace_is_found_without_its_layer(weaker: Arena, name: str) -> None:
    """Likewise for what a layer forbids, without the layer."""
    seen = ask(weaker, "both", name)
    assert seen["refused"] is None
    assert seen["found"] is not None, seen
