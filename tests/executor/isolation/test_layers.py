"""The layers of isolation: their names, and which of them must hold."""

from __future__ import annotations

import re

import pytest

from executor.isolation.layers import DEFAULT_REQUIRED, LAYER_NAMES, LAYERS, STRUCTURAL, Layer
from protocol.limits import MAX_WORD


def test_the_names_are_those_of_the_design() -> None:
    """In the order in which layers are applied; they appear in configuration files, so they stay."""
    assert LAYER_NAMES == (
        "user_namespace",
        "pid_namespace",
        "network_namespace",
        "uts_namespace",
        "cgroup_namespace",
        "control_groups",
        "mount_namespace",
        "ipc_namespace",
        "resource_limits",
        "unprivileged_user",
        "capabilities",
        "no_new_privileges",
        "landlock",
        "seccomp",
    )


def test_what_other_tenants_depend_on_is_required() -> None:
    """All but what some hosts do not have and something else stands in for."""
    assert set(LAYER_NAMES) - set(DEFAULT_REQUIRED) == {"control_groups", "cgroup_namespace", "landlock"}
    assert STRUCTURAL == ("user_namespace", "pid_namespace", "mount_namespace")
    assert set(STRUCTURAL) <= set(DEFAULT_REQUIRED)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_layer_explains_itself(layer: Layer) -> None:
    """In one line each, under a name that fits into the protocol."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", layer.name)
    assert len(layer.name) <= MAX_WORD
    for text in (layer.meaning, layer.protects):
        assert text.isprintable()
        assert "|" not in text
        assert text[-1] != "."
