"""Who may look at a running service from inside: `executor dev` does, for the author of a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from executor.figures.figures import Figures
from executor.http.asgi import Application

__all__ = ["Observer", "Refusal"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a configuration is not served.

    Attributes:
        problem: In one sentence, with the place.
        traceback: Of a plugin's exception; empty where there was none.
    """

    problem: str
    traceback: str = ""


class Observer(Protocol):
    """Somebody who is told what happens, as it happens, and may stand between clients and the gateway."""

    def wrap(self, app: Application) -> Application:
        """Return what is served in place of the gateway."""

    def finished(self, figures: Figures) -> None:
        """Take the figures of an invocation."""

    def reloaded(self, refusals: Sequence[Refusal]) -> None:
        """Learn that a reload has ended; what it found is in force unless there are refusals."""
