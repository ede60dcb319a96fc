"""Evidence: each layer is seen to hold where it was applied, and not to where it was not."""

from __future__ import annotations

import dataclasses
import json
import resource
from typing import Any, Final

import pytest

from protocol import Exited, Ready
from tests.worker.driver import AS_ROOT, LIMITS, Plugin, WorkerDriver, ZygoteDriver, make_invoke
from tests.worker.forked import in_child
from worker.lockdown.evidence import LAYERS, Origin, Place, look_at_layers

STRUCTURAL: Final = {"user_namespace", "pid_namespace", "mount_namespace"}
OPTIONAL: Final = [layer for layer in LAYERS if layer not in STRUCTURAL]
ALWAYS: Final = set() if AS_ROOT else {"unprivileged_user"}
"""Layers that hold although they are switched off: rootless, a worker has another user's identity from the start."""


def look_in_slot(zygote: ZygoteDriver, *off: str) -> dict[str, Any]:
    """What the scout sees of a slot with layers switched off."""
    slot = zygote.fork_slot(off=off)
    layers: dict[str, Any] = slot.ready["layers"]
    slot.close()
    zygote.report(Exited, slot.id)
    return layers


def test_everything_holds(zygote: ZygoteDriver) -> None:
    """A scout sees every layer, but for control groups, which these tests do not give to slots."""
    layers = look_in_slot(zygote)

    assert list(layers) == list(LAYERS)
    assert [layer for layer, seen in layers.items() if not seen["holds"]] == ["control_groups"]
    assert layers["control_groups"]["text"] == "no control groups can be used on this host"
    assert all(seen.keys() == {"holds", "text"} and seen["text"] for seen in layers.values())


def test_workers_see_what_the_scout_saw(plugin: Plugin) -> None:
    """What the kernel says of a worker's namespaces, identity, rights and filters is what the scout has told."""
    plugin.endpoint(
        """
        kinds = ("user", "pid", "net", "uts", "cgroup", "mnt", "ipc")
        spaces = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in kinds}
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
        return Response(json.dumps([spaces, [int(status[name], 16) for name in names]]))
        """
    )
    slot = plugin.zygote.take_slot()
    plugin.zygote.give_slot(slot)
    spaces, numbers = json.loads(plugin.call().body)

    names = {"net": "network", "mnt": "mount"}
    for kind, number in spaces.items():
        assert f"{kind}:[{number}]" in slot.ready["layers"][f"{names.get(kind, kind)}_namespace"]["text"]
    assert numbers == [0, 0, 0, 0, 0, 1, 2]


def test_nothing_holds() -> None:
    """A process that nothing was done to sees no layer at all."""

    def look() -> list[str]:
        seen = look_at_layers(Place(origin=Origin.look(), groups=0), LIMITS)
        return [layer for layer, evidence in seen.items() if evidence.holds]

    expected = [] if AS_ROOT else ["unprivileged_user"]
    assert [layer for layer in in_child(look) if layer != "capabilities"] == expected


@pytest.mark.parametrize("layer", OPTIONAL)
def test_layer_that_is_off(zygote: ZygoteDriver, layer: str) -> None:
    """A layer that is switched off is seen not to hold, and said to be off; the others hold."""
    seen = look_in_slot(zygote, layer)

    assert seen[layer]["holds"] == (layer in ALWAYS)
    assert seen[layer]["text"].startswith("switched off (") == (layer not in ALWAYS)
    others = {name for name, evidence in seen.items() if not evidence["holds"]}
    assert others <= {layer, "control_groups", *DEPENDENT.get(layer, ())}


DEPENDENT: Final = {"no_new_privileges": ("landlock", "seccomp")}
"""What cannot be had without a layer."""


@pytest.mark.parametrize("layer", DEPENDENT["no_new_privileges"])
def test_layer_that_fails(zygote: ZygoteDriver, layer: str) -> None:
    """A layer that the kernel refuses is told as missing, with the kernel's reason."""
    seen = look_in_slot(zygote, "no_new_privileges")[layer]

    assert seen["holds"] is False
    assert "Operation not permitted" in seen["text"] or "Permission denied" in seen["text"]


def test_resource_limits_that_are_off(zygote: ZygoteDriver, plugin: Plugin) -> None:
    """Without the layer no limit of PREPARE_WORKER is set."""
    plugin.endpoint("import resource; return Response(str(resource.getrlimit(resource.RLIMIT_NOFILE)))")
    found = {}
    for off in ((), ("resource_limits",)):
        slot = zygote.fork_slot(off=off)
        worker = WorkerDriver(slot, limits={**LIMITS, "open_files": 77})
        assert isinstance(worker.wait_ready(), Ready)
        worker.send(make_invoke())
        found[off] = worker.collect().body.decode()
        worker.exited()
        worker.close()
        slot.close()
        zygote.report(Exited, slot.id)

    assert found[()] == "(77, 77)"
    assert found["resource_limits",] == str(resource.getrlimit(resource.RLIMIT_NOFILE))


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
