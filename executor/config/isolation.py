"""The section `isolation`: which layers must hold, which are off, and under which ids workers run."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from executor.config.section import Section
from executor.config.texts import Text
from executor.config.units import Count
from executor.isolation.layers import DEFAULT_REQUIRED, LAYER_NAMES

__all__ = ["MAX_HOST_ID", "HostIds", "Isolation"]

MAX_HOST_ID: Final = 2**32 - 2
"""The largest id of a user or group; the kernel takes the next one, -1, as none. user_namespaces(7)."""

LayerName = Annotated[
    str,
    Text(lambda text: text if text in LAYER_NAMES else None, "a layer", choices=LAYER_NAMES),
]


class HostIds(Section):
    """The user and group ids on the host that workers run under when the executor runs as root.

    Nobody else on the host should have them.
    """

    first: Annotated[int, Count(1000, MAX_HOST_ID)] = Field(
        default=2_000_000_000,
        description="The first id. The default is above those of ordinary users, of `/etc/subuid`, and of systemd.",
    )
    count: Annotated[int, Count(64, 1_000_000)] = Field(
        default=8192,
        description="How many there are, an even number. Each worker that runs takes two of them, so that workers that "
        "run at the same time have none in common.",
    )


def _default_required(data: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in DEFAULT_REQUIRED if name not in data.get("off", ()))


class Isolation(Section):
    """The layers of isolation around a worker."""

    off: tuple[LayerName, ...] = Field(
        default=(),
        description="Layers that are switched off, to find out whether one is in the way of something. Not for "
        "plugins of strangers. `user_namespace`, `pid_namespace` and `mount_namespace` are always on.",
    )
    require: tuple[LayerName, ...] = Field(
        default_factory=_default_required,
        description="Layers without which the service does not start. Others are used where the host has them. "
        f"Not given: all but {', '.join(f'`{name}`' for name in LAYER_NAMES if name not in DEFAULT_REQUIRED)} and "
        "those in `off`.",
    )
    ids: HostIds = Field(
        default_factory=HostIds,
        description="User and group ids on the host that workers run under when the executor runs as root. Nobody "
        "else should have them.",
    )
