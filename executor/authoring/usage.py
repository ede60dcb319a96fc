"""What an invocation has used of its limits, and which of them it came near."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from executor.config.limits import Limits, quantity_of
from executor.figures.figures import Figures
from executor.outcome import Outcome

__all__ = ["Use", "near_limits", "show_amount", "show_use", "uses_of"]

NEAR: Final = 0.8
"""The share of a limit from which on an invocation is said to have come near it."""

REACHED: Final = {
    Outcome.TIMEOUT_WALL: "wall_time",
    Outcome.TIMEOUT_CPU: "cpu_time",
    Outcome.TIMEOUT_FIRST_BYTE: "first_byte_time",
    Outcome.TIMEOUT_IDLE: "idle_time",
    Outcome.CLIENT_TIMEOUT: "client_idle_time",
    Outcome.LIMIT_MEMORY: "memory",
    Outcome.LIMIT_REQUEST_BODY: "request_body",
    Outcome.LIMIT_RESPONSE_BODY: "response_body",
    Outcome.LIMIT_LOG_OUTPUT: "log_output",
}
"""The limit that was reached, by the outcome that says so."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was used of one limit.

    Attributes:
        name: Of the limit.
        used: In the limit's unit: seconds or bytes.
        limit: What was allowed.
        reached: Whether the invocation was ended for it.
    """

    name: str
    used: float
    limit: float
    reached: bool = False

    @property
    def share(self) -> float:
        """The used part of the limit, at least 1 where that was reached."""
        part = self.used / self.limit if self.limit else float(self.used > 0)
        return max(part, 1.0) if self.reached else part

    @property
    def near(self) -> bool:
        """Whether most of the limit was used."""
        return self.share > NEAR


def uses_of(figures: Figures, limits: Limits) -> tuple[Use, ...]:
    """Compare what was measured of an invocation with its limits, in the order of docs/settings.md."""
    reached = REACHED.get(figures.outcome)
    return tuple(Use(name, used, getattr(limits, name), name == reached) for name, used in _measured(figures, reached))


def near_limits(figures: Figures, limits: Limits) -> tuple[Use, ...]:
    """List the limits that an invocation came near, the nearest first."""
    return tuple(sorted((use for use in uses_of(figures, limits) if use.near), key=lambda use: -use.share))


def show_use(use: Use) -> str:
    """Write a use for people: `memory 480.0 MiB of 512 MiB (94%)`."""
    return f"{use.name} {show_amount(use.name, use.used)} of {quantity_of(use.name).show(use.limit)} ({use.share:.0%})"


def show_amount(name: str, amount: float) -> str:
    """Write what was used of a limit for people, rounded, in a unit that suits it."""
    if quantity_of(name).unit == "s":
        return f"{amount * 1000:.1f} ms" if amount < 1 else f"{amount:.2f} s"
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if amount >= size:
            return f"{amount / size:.1f} {unit}"
    return f"{amount:.0f} B"


def _measured(figures: Figures, reached: str | None) -> Iterator[tuple[str, float]]:
    """List what is known, limit by limit."""
    yield "wall_time", figures.duration_s
    if figures.first_byte_s is not None or reached == "first_byte_time":
        yield "first_byte_time", (figures.first_byte_s or figures.duration_s) - figures.queue_s
    if figures.pid is not None:
        yield "memory", figures.memory_peak_bytes or figures.max_rss_bytes
        yield "cpu_time", figures.cpu_user_s + figures.cpu_system_s
    yield "request_body", figures.bytes_in
    yield "response_body", figures.bytes_out
