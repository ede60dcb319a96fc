"""Reverse calls, as the endpoint's side of a session makes them: a request out, the items of its answer in.

Any thread or greenlet may make calls, many at a time. A call is sent at once; its answer is read as it is asked for,
and is held back by the supervisor while nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, Protocol

from protocol import LocalProtocolError, pack_value, unpack_value
from worker.channel import Channel

__all__ = ["CallClient", "CallError", "CallSource", "OpenCall", "make_plain"]

MAX_DEPTH: Final = 100
"""Levels of a request that are looked at; a deeper one is refused before it is sent."""


class CallError(Exception):
    """The call could not be made, or failed. The text is for the author of the plugin."""


class CallSource(Protocol):
    """Who makes calls."""

    def open(self, kind: str, request: Mapping[str, object]) -> OpenCall:
        """Make a call."""


class CallClient:
    """Makes calls over a channel.

    Args:
        channel: Open, and after INVOKE.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def open(self, kind: str, request: Mapping[str, object]) -> OpenCall:
        """Send a request.

        Args:
            kind: Dify's name for it, such as `llm`.
            request: Its fields; what is not plain data becomes that, as in JSON, only that bytes stay bytes.

        Raises:
            CallError: It is too large, cannot be sent, or nobody takes calls any more.
            Cancelled: Nobody waits for the endpoint's answer any more.
        """
        try:
            return OpenCall(self._channel, self._channel.open_call(kind, pack_value(make_plain(request))))
        except LocalProtocolError as error:
            raise CallError(f"{kind}: {error}") from None


class OpenCall:
    """A call that was made.

    Args:
        channel: Where it was made.
        call_id: Its identifier there.
    """

    def __init__(self, channel: Channel, call_id: int) -> None:
        self._channel = channel
        self._call_id = call_id
        self._pieces: list[bytes] = []
        self._over = False

    @property
    def over(self) -> bool:
        """Whether there is nothing more to read."""
        return self._over

    def read(self, timeout_s: float | None = None) -> tuple[object, ...]:
        """Wait for the next item.

        Args:
            timeout_s: Longest wait in seconds for a piece of it; None for any.

        Returns:
            The item alone in a tuple; nothing when none has come in time, and at the end (see `over`).

        Raises:
            CallError: The call failed.
            Cancelled: Nobody waits for the endpoint's answer any more.
        """
        while not self._over:
            piece = self._channel.read_call(self._call_id, timeout_s)
            if piece is None:
                return ()
            if piece.kind != "response":
                self.close()
                if piece.kind == "error":
                    raise CallError(piece.data.decode(errors="replace"))
                return ()
            self._pieces.append(piece.data)
            if not piece.more:
                data, self._pieces = b"".join(self._pieces), []
                return (unpack_value(data),)
        return ()

    def close(self) -> None:
        """Wait for nothing more; may be called again."""
        if not self._over:
            self._over = True
            self._channel.close_call(self._call_id)


def make_plain(value: object, depth: int = 0) -> Any:
    """Return plain data in place of what endpoints put into requests.

    Enumerations become their values, records (those with `model_dump`, as of pydantic) and mappings become maps, other
    collections lists, and what is left texts. Bytes stay bytes.

    Raises:
        LocalProtocolError: It is nested too deep, or in itself.
    """
    if value is None or (isinstance(value, bool | str | bytes) and not isinstance(value, Enum)):
        return value
    if depth > MAX_DEPTH:
        raise LocalProtocolError(f"the request is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Enum):
        return make_plain(value.value, depth + 1)
    if isinstance(value, int | float):
        return _make_number(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return {str(make_plain(key, depth + 1)): make_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [make_plain(item, depth + 1) for item in value]
    dump: Callable[..., object] | None = getattr(value, "model_dump", None)
    return make_plain(dump(mode="json"), depth + 1) if callable(dump) else str(value)


def _make_number(value: float) -> int | float | str:
    if isinstance(value, float):
        return float(value)
    return int(value) if -(2**63) <= value < 2**64 else str(value)
