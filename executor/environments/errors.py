"""What can go wrong with an environment, told to people."""

from __future__ import annotations

from collections.abc import Sequence

from executor.errors import ExecutorError

__all__ = ["BuildError"]


class BuildError(ExecutorError):
    """There is no environment for a plugin.

    Args:
        message: What is wrong.
        tail: The last lines of what the build has printed, without control characters.
        advice: What to do about it.
    """

    code = "environment.build"

    def __init__(self, message: str, *, tail: Sequence[str] = (), advice: str = "") -> None:
        self.message = message
        self.tail = tuple(tail)
        self.advice = advice
        quoted = "".join(f"\n    {line}" for line in tail)
        super().__init__(message + quoted + (f"\n{advice}" if advice else ""))
