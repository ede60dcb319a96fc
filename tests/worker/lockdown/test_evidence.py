"""Evidence: each layer is seen to hold where it was applied, and not to where it was not."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Final

import pytest

from protocol import Error, Exited, Ready
from tests.worker.driver import AS_ROOT, LIMITS, REQUIRED, Plugin, WorkerDriver, ZygoteDriver
from tests.worker.forked import in_child
from worker.lockdown.evidence import LAYERS, Origin, Place, look_at_layers

STRUCTURAL: Final = {"user_namespace", "pid_namespace", "mount_namespace"}
OPTIONAL: Final = [layer for layer in LAYERS if layer not in STRUCTURAL]
ALWAYS: Final = set() if AS_ROOT else {"unprivileged_user"}
"""Layers that hold although they are switched off: rootless, a worker has another user's identity from the start."""


def locked(zygote: ZygoteDriver, plugin: Plugin, *off: str) -> dict[str, Any]:
    """What a worker sees of its isolation in a slot with layers switched off."""
    slot = zygote.fork_slot(off=off)
    worker = WorkerDriver(slot)
    ready = worker.prepare(plugin.root, required=())
    assert isinstance(ready, Ready), ready
    worker.kill()
    worker.exited()
    worker.close()
    slot.close()
    zygote.report(Exited, slot.id)
    return worker.locked


def refusal(zygote: ZygoteDriver, plugin: Plugin, required: list[str], *off: str) -> str:
    """What a worker says that refuses to work, and says so before it imports anything."""
    slot = zygote.fork_slot(off=off)
    worker = WorkerDriver(slot)
    source = plugin.endpoint("return Response('')", top="print('imported', flush=True)")
    error = worker.prepare(plugin.root, [source], required=required)
    assert isinstance(error, Error), error
    assert (error.code, worker.locked) == ("internal", {})
    assert os.waitstatus_to_exitcode(worker.exited().status) == 70
    assert worker.output()[0] == b""
    worker.close()
    slot.close()
    return error.message


def test_everything_holds(plugin: Plugin) -> None:
    """A worker sees every layer, but for control groups, which these tests do not give to slots."""
    worker = plugin.fork()
    required = [layer for layer in LAYERS if layer != "control_groups"]

    assert isinstance(worker.prepare(plugin.root, required=required), Ready)
    assert list(worker.locked) == list(LAYERS)
    missing = [layer for layer, seen in worker.locked.items() if not seen["holds"]]
    assert missing == ["control_groups"]
    assert worker.locked["control_groups"]["text"] == "no control groups can be used on this host"
    assert all(seen["text"] for seen in worker.locked.values())


def test_nothing_holds() -> None:
    """A process that nothing was done to sees no layer at all."""

    def look() -> list[str]:
        seen = look_at_layers(Place(origin=Origin.look(), groups=0), LIMITS)
        return [layer for layer, evidence in seen.items() if evidence.holds]

    expected = [] if AS_ROOT else ["unprivileged_user"]
    assert [layer for layer in in_child(look) if layer != "capabilities"] == expected


@pytest.mark.parametrize("layer", OPTIONAL)
def test_layer_that_is_off(zygote: ZygoteDriver, plugin: Plugin, layer: str) -> None:
    """A layer that is switched off is seen not to hold, and said to be off."""
    seen = locked(zygote, plugin, layer)

    assert seen[layer]["holds"] == (layer in ALWAYS)
    assert seen[layer]["text"].startswith("switched off (") == (layer not in ALWAYS)
    others = {name for name, evidence in seen.items() if not evidence["holds"]}
    assert others <= {layer, "control_groups", *DEPENDENT.get(layer, ())}


DEPENDENT: Final = {"no_new_privileges": ("landlock", "seccomp")}
"""What cannot be had without a layer."""


@pytest.mark.parametrize("layer", [layer for layer in OPTIONAL if layer not in ALWAYS])
def test_layer_that_is_off_but_required(zygote: ZygoteDriver, plugin: Plugin, layer: str) -> None:
    """A worker refuses to work without a layer that is required, and names it."""
    message = refusal(zygote, plugin, [layer], layer)

    assert message.startswith(f"worker: step report_layers: {layer}: switched off (")


@pytest.mark.parametrize("layer", DEPENDENT["no_new_privileges"])
def test_layer_that_fails(zygote: ZygoteDriver, plugin: Plugin, layer: str) -> None:
    """A layer that the kernel refuses is an end to the worker if it is required, and is told as missing otherwise."""
    message = refusal(zygote, plugin, [layer], "no_new_privileges")
    assert message.startswith(f"worker: step lock_down: {layer}: ")

    seen = locked(zygote, plugin, "no_new_privileges")[layer]
    assert seen["holds"] is False
    assert seen["text"]


def test_layer_that_does_not_exist(plugin: Plugin) -> None:
    """A required layer that this worker does not know cannot hold."""
    error = plugin.fork().prepare(plugin.root, required=[*REQUIRED, "new_layer"])

    assert isinstance(error, Error)
    assert error.message.endswith("report_layers: new_layer: there is no such layer")


def test_limits_that_do_not_hold() -> None:
    """Resource limits are compared with what is in force."""

    def look() -> dict[str, Any]:
        seen = look_at_layers(Place(origin=Origin.look(), groups=0), {"open_files": 10})
        return dataclasses.asdict(seen["resource_limits"])

    seen = in_child(look)
    assert seen["holds"] is False
    assert seen["text"].endswith(" limits hold")


def test_reason_of_a_failure_is_told() -> None:
    """For a layer that could not be had the reason is told, not what is there instead."""
    place = Place(origin=Origin.look(), groups=1, failed={"uts_namespace": "no luck"})

    assert look_at_layers(place, {})["uts_namespace"].text == "no luck"


def test_control_groups_that_were_not_joined() -> None:
    """Control groups hold if there are some and joining them did not fail."""
    origin = Origin.look()

    def holds(place: Place) -> bool:
        return look_at_layers(place, {})["control_groups"].holds

    assert holds(Place(origin=origin, groups=4))
    assert not holds(Place(origin=origin, groups=0))
    assert not holds(Place(origin=origin, groups=4, failed={"control_groups": "EBUSY"}))
    assert not holds(Place(origin=origin, groups=4, off=frozenset({"control_groups"})))
