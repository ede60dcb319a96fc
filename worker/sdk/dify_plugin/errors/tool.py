"""Exceptions of tools."""

from __future__ import annotations

__all__ = ["ToolProviderCredentialValidationError", "ToolProviderOAuthError"]


class ToolProviderCredentialValidationError(Exception):
    """The credentials do not work."""


class ToolProviderOAuthError(Exception):
    """Authorisation failed."""
