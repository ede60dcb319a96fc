"""What is wrong with a call of a Dify daemon."""

from __future__ import annotations

from http import HTTPStatus

from executor.errors import ExecutorError

__all__ = ["BadCallError", "FunctionError", "LaunchError"]


class BadCallError(ExecutorError):
    """A request of the daemon that is not taken.

    Args:
        message: What is wrong, and what would be right.
        status: Of the answer.
    """

    code = "serverless.call"

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class LaunchError(ExecutorError):
    """A plugin cannot be launched; the text says why."""

    code = "serverless.launch"


class FunctionError(ExecutorError):
    """A function that is there cannot be called; the text says why."""

    code = "serverless.function"
