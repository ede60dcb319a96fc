"""Settings of isolation that contradict each other, and those that must not go unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from executor.config.clash import Clash
from executor.config.isolation import MAX_HOST_ID, HostIds
from executor.config.model import Config
from executor.isolation.layers import DEFAULT_REQUIRED, STRUCTURAL

__all__ = ["check_isolation"]

IDS_PER_WORKER: Final = 2
"""One for the worker and one for its parent, the slot; the first pair is that of the zygotes above them."""

ORDINARY_IDS: Final = 65536
"""Ids below this are those of the host's own users; 65534 is `nobody`. login.defs(5)."""


def check_isolation(config: Config) -> Iterator[Clash]:
    """Check the section `isolation`."""
    yield from _check_off(config)
    yield from _check_required(config)
    yield from _check_ids(config.isolation.ids)
    yield from _check_number(config)


def _check_off(config: Config) -> Iterator[Clash]:
    off, require = config.isolation.off, config.isolation.require
    for index, name in enumerate(off):
        if name in STRUCTURAL:
            message = f"{name} cannot be switched off: there are no workers without it"
        elif name in require:
            message = f"{name} is in isolation.require as well; take it out of one of them"
        else:
            continue
        yield Clash(path=("isolation", "off", index), found=name, expected="another layer", message=message)
    if off:
        yield Clash(
            path=("isolation", "off"),
            found=", ".join(off),
            expected="nothing",
            message=f"ISOLATION IS WEAKENED: {', '.join(off)} switched off. Do not run plugins of strangers like this",
            severity="warning",
        )


def _check_required(config: Config) -> Iterator[Clash]:
    """Tell what is missing from a list that is given; structural layers hold anyway."""
    isolation = config.isolation
    lacking = [
        name for name in DEFAULT_REQUIRED if name not in (*isolation.require, *isolation.off) and name not in STRUCTURAL
    ]
    if lacking:
        yield Clash(
            path=("isolation", "require"),
            found=", ".join(isolation.require) or "nothing",
            expected=", ".join(DEFAULT_REQUIRED),
            message=f"isolation may be weaker than by default: the service also starts where the host does not have "
            f"{', '.join(lacking)}",
            severity="warning",
        )


def _check_ids(ids: HostIds) -> Iterator[Clash]:
    most = MAX_HOST_ID - ids.count
    if ids.first > most:
        yield Clash(
            path=("isolation", "ids", "first"),
            found=ids.first,
            expected=f"at most {most}",
            message=f"{ids.count} ids from {ids.first} on do not fit below {MAX_HOST_ID}; begin at {most} or lower",
        )
    if ids.count % 2:
        yield Clash(
            path=("isolation", "ids", "count"),
            found=ids.count,
            expected="an even number",
            message="it must be even: ids are given out in pairs",
        )
    if ids.first < ORDINARY_IDS:
        yield Clash(
            path=("isolation", "ids", "first"),
            found=ids.first,
            expected=f"at least {ORDINARY_IDS}",
            message=f"ids below {ORDINARY_IDS} may be those of users of this host, whose files and processes a worker "
            "could then touch; 65534 is nobody",
            severity="note",
        )


def _check_number(config: Config) -> Iterator[Clash]:
    workers = config.isolation.ids.count // IDS_PER_WORKER - 1
    if workers < config.admission.concurrency:
        yield Clash(
            path=("isolation", "ids", "count"),
            found=config.isolation.ids.count,
            expected=f"at least {IDS_PER_WORKER * (config.admission.concurrency + 1)}",
            message=f"as root, no more than {workers} workers can have ids of their own at the same time; "
            f"admission.concurrency is {config.admission.concurrency}",
            severity="note",
        )
