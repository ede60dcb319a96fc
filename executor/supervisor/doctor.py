"""Trying what isolation this host gives: one slot and one worker without a plugin, and what the worker sees."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.isolation.control_groups import ControlGroups, Unavailable
from executor.isolation.host import HostIsolation
from executor.isolation.layers import STRUCTURAL
from executor.isolation.state import LayerState, summarise
from executor.supervisor.ready_worker import StartError
from executor.supervisor.runtime import PluginRuntime, discard_output
from executor.supervisor.zygote_tree import ZygoteTree

__all__ = ["Examination", "examine"]

TRIAL_TIME_S: Final = 60.0
"""Longest trial: starting an interpreter on a busy machine takes seconds."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        layers: What holds, in order of application.
        failure: Why no worker could be had at all; empty otherwise.
        groups: Version of the control groups, `None` without.
        controllers: Those of them that can be used.
        place: Where the control groups are.
    """

    layers: tuple[LayerState, ...]
    failure: str
    groups: str | None
    controllers: frozenset[str]
    place: str

    @property
    def healthy(self) -> bool:
        """Whether the service would start."""
        return not self.failure and not any(layer.refused for layer in self.layers)


def examine(settings: Isolation) -> Examination:
    """Try everything, with whatever the host gives.

    Args:
        settings: What is required and what is off. For the trial only the structural layers are required, so that
            one that is missing does not hide the others.
    """
    return asyncio.run(_examine(settings))


async def _examine(settings: Isolation) -> Examination:
    host = HostIsolation(settings)
    demanded, host.required = host.required, STRUCTURAL
    tree = ZygoteTree(asyncio.get_running_loop(), host)
    runtime = PluginRuntime("doctor", "/", tree, has_files=False)
    report: dict[str, object] = {}
    failure = ""
    try:
        async with asyncio.timeout(TRIAL_TIME_S):
            worker = await runtime.start_worker((), discard_output(), Limits())
        report = worker.slot.layers
        await worker.finish(0)
    except TimeoutError:
        failure = f"no worker within {TRIAL_TIME_S:g} s"
    except StartError as error:
        failure = error.error.message if error.error is not None else str(error)
    finally:
        runtime.close()
        await tree.close()
        await runtime.wait_closed()
        host.close()
    host.required = demanded
    groups = host.groups
    found = groups if isinstance(groups, ControlGroups) else None
    return Examination(
        layers=summarise(host, report, failure),
        failure=failure,
        groups=found.version if found is not None else None,
        controllers=found.controllers if found is not None else frozenset(),
        place=found.place if found is not None else groups.reason if isinstance(groups, Unavailable) else "",
    )
