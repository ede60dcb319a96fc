"""Limits that another limit keeps from ever being reached, and limits that are merely doubtful.

Only what is given is looked at, each on its level: what is inherited follows by itself, see `effective`. Which plugin
a hook has is not known yet, so a limit of a hook is refused when it is wrong with every plugin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from executor.config.clash import Clash
from executor.config.effective import WITHIN, Effective, Given, Level, join_limits, reachable_cpu_time
from executor.config.limits import Limits, quantity_of
from executor.config.model import Config
from executor.config.places import KeyPath
from executor.config.units import format_cpus, format_duration, format_size

__all__ = ["check_limits"]

WORKER_BYTES: Final = 64 * 1024**2
"""Memory that an endpoint with a few libraries needs for itself; the worker alone takes about 26 MB."""

FILE_BYTES: Final = 1024
"""Memory of the kernel for one file in a scratch folder: an inode and a directory entry, 944 bytes on x86-64.

Source: `shmem_inode_cache` and `dentry` in /proc/slabinfo, Linux 6.18.
"""

ROUNDING: Final = 1 + 1e-9

RELATED: Final = {*WITHIN, *WITHIN.values(), "cpu_share"}
"""Limits that decide whether another one can be reached."""

Joined = Mapping[str, Effective]


@dataclass(frozen=True)
class _Place:
    """Limits that are given in one place, and the levels that may come together there."""

    path: KeyPath
    limits: Limits
    levels: tuple[tuple[Given, ...], ...]

    @cached_property
    def outcomes(self) -> list[Joined]:
        """What may hold here in all; most places give nothing that makes it worth the time."""
        return [join_limits(levels) for levels in self.levels]

    def gives(self, name: str) -> bool:
        return name in self.limits.model_fields_set

    def value(self, name: str) -> float:
        value: float = getattr(self.limits, name)
        return value

    def most(self, name: str) -> float:
        """The highest value that a limit may have here; one that is given here has it."""
        return self.value(name) if self.gives(name) else max(joined[name].value for joined in self.outcomes)


def check_limits(config: Config) -> Iterator[Clash]:
    """Check the limits of all levels."""
    for place in _places(config):
        yield from _check_within(place)
        yield from _check_cpu_time(place)
        yield from _check_scratch(place)
        yield from _check_counts(place, config)


def _places(config: Config) -> Iterator[_Place]:
    general = Given(Level.GENERAL, ("limits",), config.limits)
    yield _Place(general.path, general.limits, ((general,),))
    distinct: dict[object, Given] = {}
    for index, plugin in enumerate(config.plugins):
        given = Given(Level.PLUGIN, ("plugins", index, "limits"), plugin.limits)
        yield _Place(given.path, given.limits, ((general, given),))
        values = given.limits.model_dump(include=RELATED & given.limits.model_fields_set)
        distinct[frozenset(values.items())] = given
    for hook_id, hook in config.hooks.items():
        given = Given(Level.HOOK, ("hooks", hook_id, "limits"), hook.limits)
        through = [(general, plugin, given) for plugin in distinct.values()]
        yield _Place(given.path, given.limits, ((general, given), *through))


def _check_within(place: _Place) -> Iterator[Clash]:
    for name, other in WITHIN.items():
        if not place.gives(name) or place.value(name) <= place.most(other):
            continue
        quantity = quantity_of(name)
        most = quantity.show(place.most(other))
        more = "longer" if quantity.unit == "s" else "larger"
        yield Clash(
            path=(*place.path, name),
            found=quantity.show(place.value(name)),
            expected=f"at most {other}, which is {most}",
            message=f"it is {more} than {other}, which is {most}, and could never be reached",
        )


def _check_cpu_time(place: _Place) -> Iterator[Clash]:
    """Refuse CPU time that no invocation has, however busy it is."""
    if not place.gives("cpu_time"):
        return
    widest = max(place.outcomes, key=reachable_cpu_time)
    reach = reachable_cpu_time(widest)
    if place.value("cpu_time") > reach * ROUNDING:
        yield Clash(
            path=(*place.path, "cpu_time"),
            found=format_duration(place.value("cpu_time")),
            expected=f"at most {reach:g}s",
            message=f"it could never be reached: wall_time, which is {format_duration(widest['wall_time'].value)}, "
            f"times cpu_share, which is {format_cpus(widest['cpu_share'].value)}, is {reach:g}s",
        )


def _check_scratch(place: _Place) -> Iterator[Clash]:
    """Note scratch folders that leave no memory for the endpoint when they are full."""
    for name, each in (("scratch_size", 1), ("scratch_files", FILE_BYTES)):
        if not place.gives(name):
            continue
        memory = int(place.most("memory"))
        room, needed = max(memory - WORKER_BYTES, 0), int(place.value(name)) * each
        if room < needed and (name not in WITHIN or needed <= memory):  # else it was refused
            yield _doubt(
                (*place.path, name),
                found=quantity_of(name).show(place.value(name)),
                expected=f"at most {quantity_of(name).show(room // each)}, or more memory",
                message=f"a full scratch folder takes {format_size(needed)} of memory, which is {format_size(memory)}, "
                f"and leaves less than {format_size(WORKER_BYTES)} for the endpoint: limit.memory comes first",
            )


def _check_counts(place: _Place, config: Config) -> Iterator[Clash]:
    for name in ("concurrency", "queue_length"):
        most, value = getattr(config.admission, name), place.value(name)
        if place.gives(name) and value > most:
            yield _doubt(
                (*place.path, name),
                found=value,
                expected=f"at most {most}",
                message=f"one hook never uses {value}: admission.{name} is {most} for all of them",
            )


def _doubt(path: KeyPath, *, found: object, expected: str, message: str) -> Clash:
    return Clash(path=path, found=found, expected=expected, message=message, severity="note")
