"""What holds of each layer on this host: the summary that `executor doctor`, the log and the metrics show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from executor.isolation.control_groups import Unavailable
from executor.isolation.host import HostIsolation
from executor.isolation.layers import LAYERS
from executor.isolation.remedies import find_remedy

__all__ = ["LayerState", "State", "failed_layer", "summarise", "with_remedy"]

State = Literal["on", "off", "missing"]


@dataclass(frozen=True, slots=True)
class LayerState:
    """One layer.

    Attributes:
        name: Of the layer.
        state: `on`; `off`, switched off by the configuration; `missing`, the host does not give it.
        required: Whether workers are refused without it.
        evidence: What a worker saw from inside, or why it is missing.
        remedy: What to do, where it is missing.
    """

    name: str
    state: State
    required: bool
    evidence: str
    remedy: str

    @property
    def refused(self) -> bool:
        """Whether the service does not start because of it."""
        return self.required and self.state != "on"


def summarise(host: HostIsolation, report: Mapping[str, object], failure: str = "") -> tuple[LayerState, ...]:
    """Tell what holds.

    Args:
        host: What was demanded, and the control groups.
        report: What a slot said of its layers; empty when there was none.
        failure: Why there was none.
    """
    broken = failed_layer(failure)
    states = []
    for layer in LAYERS:
        entry = report.get(layer.name)
        seen: Mapping[str, object] = entry if isinstance(entry, dict) else {}
        state: State = "on" if seen.get("holds") is True else "off" if layer.name in host.off else "missing"
        evidence = str(seen.get("text", failure if layer.name == broken else "" if report else "not reached"))
        remedy = find_remedy(layer.name) if state == "missing" and (report or layer.name == broken) else ""
        if layer.name == "control_groups" and isinstance(host.groups, Unavailable):
            evidence, remedy = host.groups.reason, host.groups.remedy
        states.append(LayerState(layer.name, state, layer.name in host.required, evidence, remedy))
    return tuple(states)


def failed_layer(failure: str) -> str:
    """Find the layer that a failure names, `... layer: what happened`; nothing where it names none."""
    return next((layer.name for layer in LAYERS if f"{layer.name}: " in failure), "")


def with_remedy(failure: str) -> str:
    """Add what to do about it, when a layer of isolation was why something failed."""
    remedy = find_remedy(failed_layer(failure))
    return f"{failure}. {remedy[0].upper()}{remedy[1:]}; `executor doctor` shows every layer" if remedy else failure
