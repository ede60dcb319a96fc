"""Reads the table of deeds from the hostile plugin; see `attacks/deeds.py` there. No deed is done here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tests.sandbox import attacks

__all__ = ["DEEDS", "DeedRecord", "deeds_of"]


class DeedRecord(NamedTuple):
    """What a test needs to know of a deed."""

    area: str
    name: str
    tries: str
    proof: str
    layers: tuple[str, ...]
    limits: Mapping[str, object]
    ends: tuple[str, ...]
    by_groups: bool
    twin: str

    def __str__(self) -> str:
        """Name it as pytest's `-k` takes it."""
        return f"{self.area}.{self.name}"


def _read() -> tuple[DeedRecord, ...]:
    return tuple(
        DeedRecord(
            area=one.area,
            name=one.name,
            tries=one.tries,
            proof=one.proof.kind,
            layers=one.proof.layers,
            limits=one.proof.limits,
            ends=one.ends,
            by_groups=one.by_groups,
            twin=one.proof.twin,
        )
        for one in attacks._load().deeds.DEEDS.values()
    )


DEEDS: Final = _read()
"""All deeds."""


def deeds_of(*areas: str) -> tuple[DeedRecord, ...]:
    """Name the deeds of these areas.

    Raises:
        ValueError: An area has none, which would let its tests pass.
    """
    found = tuple(one for one in DEEDS if one.area in areas)
    if {one.area for one in found} != set(areas):
        raise ValueError(f"no deeds in some of {areas}")
    return found
