"""The services that the attacks run in. Each is started once for all the attacks that it is for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.environments import NOBODY, build_environment, environment_for_anybody, find_pythons
from tests.sandbox.lures import Lures
from tests.sandbox.services import Service, open_plugins, start

Weaken = Callable[[tuple[str, ...], Mapping[str, object]], Service]

QUICK: Final = frozenset({"test_contained"})
"""Files that are part of the default run: every attack, contained. All the rest is for `make test-sandbox`."""

SHARED: Final = frozenset(
    ("service", "own_service", "weaken", "arena", "weaker", "results", "as_root", "rootless", "patient")
)
"""Fixtures that start a service for all tests of a module."""


def cannot_run(reason: str) -> None:
    """Skip a test that this host does not allow; fail it where that is not accepted."""
    if os.environ.get("SANDBOX_MUST_WORK") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def user_for(whose: str) -> int | None:
    """Tell as whom a service is started; None is the tests' own user.

    Args:
        whose: `root`, which only root can be; `rootless` and what begins so, a user without rights; anything else for
            the tests' own.
    """
    root = os.geteuid() == 0
    if whose == "root" and not root:
        cannot_run("the tests do not run as root")
    return NOBODY if root and whose.startswith("rootless") else None


@pytest.fixture(scope="session")
def lures() -> Iterator[Lures]:
    """Put things on the host that must not be found."""
    with Lures() as lures:
        yield lures


@pytest.fixture(scope="session")
def plugins() -> Iterator[Path]:
    """Copy the plugins to where everybody may read them."""
    with open_plugins() as folder:
        yield folder


@pytest.fixture(scope="module", params=["root", "rootless", "environment", "rootless-environment"])
def service(request: pytest.FixtureRequest, plugins: Path, lures: Lures) -> Iterator[Service]:
    """Start the service with all layers: as root and as a user without rights, without and with an environment.

    That is without the real SDK, whose gevent closes descriptors late: what forks and reads a pipe would hang. Both
    plugins have it.
    """
    user = user_for(request.param)
    environment = None
    if user is not None and request.param.endswith("environment"):
        environment = environment_for_anybody("werkzeug", "msgpack==1.0.8")
        if environment is None:
            cannot_run("this system has no Python that every user may run")
    elif request.param.endswith("environment"):
        python = next(version for version in ("3.12", "3.13", "3.11") if version in find_pythons())
        environment = build_environment("werkzeug", "msgpack", python=find_pythons()[python])
    with start(plugins, lures, user=user, environment=environment) as service:
        yield service


@pytest.fixture(scope="module")
def own_service(plugins: Path, lures: Lures) -> Iterator[Service]:
    """Start the service with all layers as the user who runs the tests."""
    with start(plugins, lures) as service:
        yield service


@pytest.fixture(scope="module")
def weaken(plugins: Path, lures: Lures) -> Iterator[Weaken]:
    """Give a function that starts a service with layers off or limits raised, or gives the last one if it is such."""
    with contextlib.ExitStack() as stack:
        running: dict[Any, Service] = {}

        def weaken(layers: tuple[str, ...], limits: Mapping[str, object]) -> Service:
            key = (layers, tuple(limits.items()))
            if key not in running:
                running.clear()
                stack.close()
                running[key] = stack.enter_context(start(plugins, lures, off=layers, limits=limits))
            return running[key]

        yield weaken


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has a target of its own, `make test-sandbox`, and what shares a service.

    Tests that have a service in common go to one process of pytest-xdist, so that it is started once.
    """
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents and isinstance(item, pytest.Function):
            if item.path.stem not in QUICK:
                item.add_marker(pytest.mark.attack)
            if place := place_of(item):
                item.add_marker(pytest.mark.xdist_group(place))


def place_of(item: pytest.Function) -> str:
    """Name the service that a test needs; nothing if it starts one by itself, or needs none."""
    given: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    names = [f"{name} {given.get(name, '')}" for name in sorted(SHARED) if name in item.fixturenames]
    if "weaken" in item.fixturenames and "attack" in given:
        names.append(f"{given['attack'].layers} {given['attack'].limits}")
    return " ".join((item.path.stem, *names)) if names else ""
