"""Errors that stop a command, with the exit status that it ends with."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ExecutorError", "StartupError"]


class ExecutorError(Exception):
    """Something that a command cannot go on with; its text is what the user needs to know.

    Attributes:
        code: Stable, dotted name.
        exit_status: Of the command.
    """

    code: ClassVar[str] = "executor.error"
    exit_status: ClassVar[int] = 1


class StartupError(ExecutorError):
    """The service cannot start."""

    code = "service.startup"
