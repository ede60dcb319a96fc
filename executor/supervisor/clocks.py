"""On whose clock an invocation runs: the client's, the endpoint's, or neither's, besides that of all of it.

The endpoint cannot be expected to go on while the client is waited for, nor the client to be fast because the endpoint
has been slow: whoever is waited for has a clock, and the other one's rests. While the endpoint waits for those that it
calls, its clock rests as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from executor.config.limits import Limits
from executor.outcome import Outcome
from executor.reverse.broker import CallBroker
from executor.supervisor.watchdog import Watchdog

__all__ = ["Clocks"]

AFTER_THE_ANSWER: Final = frozenset({"finishing", "ending"})
"""States in which nobody is waited for; the time after the answer has a bound of its own."""


class Clocks:
    """Has the watchdog watch whoever is waited for.

    Args:
        watchdog: Told of every change.
        limits: How long each may take.

    Attributes:
        state: How far the invocation is: `queued`, `starting`, `running`, `responding` once its answer has begun,
            `finishing` after a whole answer, `ending`.
        calls: The reverse calls of the endpoint, where it may make any.
    """

    __slots__ = ("_client_is_waited_for", "_limits", "_watchdog", "calls", "state")

    def __init__(self, watchdog: Watchdog, limits: Limits) -> None:
        self.state = "queued"
        self.calls: CallBroker | None = None
        self._watchdog = watchdog
        self._limits = limits
        self._client_is_waited_for = False

    def watch_endpoint(self) -> None:
        """Have the endpoint's clock run, unless it is others who are waited for, or nobody is, after the answer."""
        if self._client_is_waited_for:
            return
        if self.state in AFTER_THE_ANSWER or (self.calls is not None and self.calls.busy):
            self._watchdog.rest()
        elif self.state == "responding":
            self._watchdog.watch(Outcome.TIMEOUT_IDLE, self._limits.idle_time)
        else:
            self._watchdog.watch(Outcome.TIMEOUT_FIRST_BYTE, self._limits.first_byte_time)

    async def wait_sent(self, sending: Awaitable[None]) -> None:
        """Wait until a piece of the answer is sent, on the client's clock; afterwards the endpoint's runs."""
        self._client_is_waited_for = True
        self._watchdog.watch(Outcome.CLIENT_TIMEOUT, self._limits.client_idle_time)
        await sending
        self._client_is_waited_for = False
        self.watch_endpoint()

    async def wait_received(self, receiving: Awaitable[bytes | None]) -> bytes | None:
        """Wait for a piece of the request's body; until the answer has begun, the endpoint's clock rests meanwhile.

        Returns:
            What was awaited.

        Raises:
            TimeoutError: The client's time is over.
        """
        if self.state == "running":
            self._client_is_waited_for = True
            self._watchdog.rest()
        try:
            async with asyncio.timeout(self._limits.client_idle_time):
                return await receiving
        finally:
            if self.state == "running":
                self._client_is_waited_for = False
                self.watch_endpoint()
