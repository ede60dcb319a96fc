"""The `session` of an endpoint: who is called, and the way back to Dify."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

from worker.bridge import SdkReader, SdkWriter, carry_uploads
from worker.calls import CallSource

__all__ = ["make_session"]


@functools.cache
def _find_session_class() -> tuple[Any, frozenset[str]]:
    """Return the class of the installed SDK, and the names of what it takes; the rehearsal finds them before forks."""
    kind: Any = importlib.import_module("dify_plugin.core.runtime").Session
    accepted = frozenset(inspect.signature(kind).parameters)
    if "reader" in accepted:  # the real SDK
        carry_uploads()
    return kind, accepted


def make_session(*, invocation_id: str, hook_id: str, calls: CallSource) -> Any:
    """Build the session of one invocation, with the class that the installed SDK has.

    Args:
        invocation_id: Becomes `session.session_id`.
        hook_id: Becomes `session.endpoint_id`.
        calls: Makes reverse calls.
    """
    kind, accepted = _find_session_class()
    given: dict[str, Any] = {"session_id": invocation_id, "endpoint_id": hook_id}
    if "reader" not in accepted:
        return kind(**given, calls=calls)
    writer = SdkWriter(calls)
    executor = importlib.import_module("concurrent.futures").ThreadPoolExecutor(max_workers=1)
    given |= {"executor": executor, "reader": SdkReader(writer), "writer": writer}
    if "install_method" in accepted:  # `local` is the one that uses reader and writer
        given["install_method"] = importlib.import_module("dify_plugin.config.config").InstallMethod.Local
    return kind(**{name: value for name, value in given.items() if name in accepted})
