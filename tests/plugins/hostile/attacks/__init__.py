"""What a stranger's plugin may try. One module per area, one function per attack.

An attack gets a `target`: what the tests know about the service and the host, by name (process ids, addresses, paths),
so that it need not guess. It returns in words what it got, and nothing (or it raises OSError) where it got nothing.
Nothing runs when these modules are imported: the tests read the table from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["TABLE", "Attack", "Proof", "any_of", "attack", "bare", "limits", "off", "run", "twin"]

Target = Mapping[str, object]


@dataclass(frozen=True)
class Proof:
    """How an attack has been seen to succeed, so that its test is known to be able to fail.

    Attributes:
        kind: `off`, `limits`, `bare` or `twin`.
        layers: The layers that are switched off, in a service that is otherwise the same.
        limits: The limits that are raised, likewise.
        user: For `bare`: `root`, `nobody` or `any`, as whom it succeeds outside of a sandbox.
        twin: For `twin`: the name of the deed of the same area.
    """

    kind: str
    layers: tuple[str, ...] = ()
    limits: Mapping[str, object] = field(default_factory=dict)
    user: str = "any"
    twin: str = ""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        area: Its module.
        name: Its function.
        tries: What it tries, in one sentence.
        proof: How it has been seen to succeed.
        ends: Outcomes that contain it as well as an answer does, such as `worker.crashed`.
        machines: Where it exists; everywhere if empty.
        function: What is run.
    """

    area: str
    name: str
    tries: str
    proof: Proof
    ends: tuple[str, ...]
    machines: tuple[str, ...]
    function: Callable[[Target], str | None]


TABLE: dict[tuple[str, str], Attack] = {}
"""All attacks of the modules that were imported, by area and name."""


def off(*layers: str) -> Proof:
    """It succeeds when these layers, each of which would stop it, are switched off."""
    return Proof("off", layers=layers)


def limits(**limits: object) -> Proof:
    """It succeeds when these limits are raised."""
    return Proof("limits", limits=limits)


def bare(user: str = "any") -> Proof:
    """It succeeds outside of any sandbox. Only for what changes nothing there."""
    return Proof("bare", user=user)


def twin(name: str) -> Proof:
    """Another deed uses the same means rightly, and ends otherwise for it."""
    return Proof("twin", twin=name)


def attack(
    tries: str, *, proof: Proof, ends: tuple[str, ...] = (), machines: tuple[str, ...] = ()
) -> Callable[[Callable[[Target], str | None]], Callable[[Target], str | None]]:
    """Put a function into the table."""

    def register(function: Callable[[Target], str | None]) -> Callable[[Target], str | None]:
        area, name = function.__module__.rpartition(".")[2], function.__name__
        if (area, name) in TABLE and TABLE[area, name].function.__code__ is not function.__code__:
            raise ValueError(f"there are two attacks {area}.{name}")
        TABLE[area, name] = Attack(area, name, tries, proof, ends, machines, function)
        return function

    return register


def run(area: str, name: str, target: Target) -> bytes:
    """Run an attack; `{"escaped": whether it got what it wanted, "detail": what, or why not}` as JSON."""
    try:
        got = TABLE[area, name].function(target)
    except OSError as error:
        return json.dumps({"escaped": False, "detail": f"{type(error).__name__}: {error}"}).encode()
    return json.dumps({"escaped": bool(got), "detail": str(got or "nothing")[:2000]}).encode()


def any_of(function: Callable[..., str | None], items: Iterable[object]) -> str | None:
    """Try a function on one item after the other; the first thing that it gets.

    Raises:
        OSError: It got nothing from any; tells why.
    """
    refusals = []
    for item in items:
        try:
            got = function(item)
        except OSError as error:
            refusals.append(f"{item}: {error.strerror or error}")
        else:
            if got:
                return f"{item}: {got}"
    raise OSError(0, "; ".join(refusals)[:1000] or "nothing")
