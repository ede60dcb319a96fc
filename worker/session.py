"""The `session` of an endpoint: who is called, and the way back to Dify, which this executor does not have yet."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any, Final, NoReturn

__all__ = ["REVERSE_CALLS_REFUSED", "make_session"]

REVERSE_CALLS_REFUSED: Final = (
    "reverse calls (session.app, .model, .tool, .workflow_node, .storage, .file) need a connection to Dify, "
    "and this executor has none configured"
)


@functools.cache
def _find_session_class() -> tuple[Any, frozenset[str]]:
    """Return the class of the installed SDK, and the names of what it takes; the rehearsal finds them before forks."""
    kind: Any = importlib.import_module("dify_plugin.core.runtime").Session
    return kind, frozenset(inspect.signature(kind).parameters)


class _Refusal:
    """Stands where the real SDK expects its reader and writer."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(REVERSE_CALLS_REFUSED)


def make_session(*, invocation_id: str, hook_id: str) -> Any:
    """Build the session of one invocation, with the class that the installed SDK has.

    Args:
        invocation_id: Becomes `session.session_id`.
        hook_id: Becomes `session.endpoint_id`.
    """
    kind, accepted = _find_session_class()
    given: dict[str, Any] = {"session_id": invocation_id, "endpoint_id": hook_id}
    if "reader" in accepted:  # the real SDK
        executor = importlib.import_module("concurrent.futures").ThreadPoolExecutor(max_workers=1)
        given |= {"executor": executor, "reader": _Refusal(), "writer": _Refusal()}
        if "install_method" in accepted:  # `local` is the one that uses reader and writer
            given["install_method"] = importlib.import_module("dify_plugin.config.config").InstallMethod.Local
        given = {name: value for name, value in given.items() if name in accepted}
    return kind(**given)
