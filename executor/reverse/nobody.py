"""The target `none`: there is nobody to call, and it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from executor.reverse.call import CallFailedError, ReverseCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["NOBODY", "NobodyTarget"]

NOBODY: Final = (
    "reverse calls (session.app, .model, .tool, .workflow_node, .file) need a connection to Dify, "
    "and this executor has none configured (reverse.target)"
)


@final
class NobodyTarget:
    """Answers no call."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def call(self, call: ReverseCall) -> AsyncIterator[object]:
        """Refuse a call."""
        raise CallFailedError(f"{call.kind}: {NOBODY}")
        yield  # an async generator, as targets are
