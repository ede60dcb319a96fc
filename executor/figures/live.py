"""What runs at this moment: the supervisor's view, handed to the admin listener whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LiveWorker", "Snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """One worker process and the invocation that it carries.

    Attributes:
        pid: Process id.
        invocation_id: Of the invocation that the worker serves; empty while it serves none.
        hook_id: Of that invocation's hook.
        plugin: Manifest name of the plugin.
        rule: Declared path of the endpoint.
        method: HTTP method of the request.
        state: What it is doing, in one word, such as `preparing`, `running` or `responding`.
        age_s: Time since the invocation started, in seconds.
        bytes_in: Bytes of the request body so far.
        bytes_out: Bytes of the response body so far.
    """

    pid: int
    invocation_id: str
    hook_id: str
    plugin: str
    rule: str
    method: str
    state: str
    age_s: float
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The executor at one moment.

    Attributes:
        workers: Every live worker.
        slots: How many slots there are, by what they do: `idle` or `busy`.
        queued: Requests that wait for admission.
        ready: Whether new requests can be served: a worker of each plugin has answered, and it is not
            draining.
        reasons: Why it is not ready, one sentence each; empty when it is.
        draining: Whether it is shutting down and takes no new work.
    """

    workers: tuple[LiveWorker, ...]
    slots: Mapping[str, int]
    queued: int
    ready: bool
    reasons: tuple[str, ...]
    draining: bool
