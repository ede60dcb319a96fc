"""Exceptions of models."""

from __future__ import annotations

__all__ = [
    "CredentialsValidateFailedError",
    "InvokeAuthorizationError",
    "InvokeBadRequestError",
    "InvokeConnectionError",
    "InvokeError",
    "InvokeRateLimitError",
    "InvokeServerUnavailableError",
]


class InvokeError(Exception):
    """A call of a model failed.

    Args:
        description: What happened.
    """

    description: str | None = None

    def __init__(self, description: str | None = None) -> None:
        super().__init__(description)
        self.description = description

    def __str__(self) -> str:
        return self.description or type(self).__name__


class InvokeConnectionError(InvokeError):
    """The provider could not be reached."""

    description = "Connection Error"


class InvokeServerUnavailableError(InvokeError):
    """The provider is not available."""

    description = "Server Unavailable Error"


class InvokeRateLimitError(InvokeError):
    """The provider allows no more calls now."""

    description = "Rate Limit Error"


class InvokeAuthorizationError(InvokeError):
    """The credentials were refused."""

    description = "Incorrect model credentials provided, please check and try again."


class InvokeBadRequestError(InvokeError):
    """The request was refused."""

    description = "Bad Request Error"


class CredentialsValidateFailedError(Exception):
    """The credentials do not work."""
