"""Speech2TextModel, under the name of the SDK's module."""

from __future__ import annotations

from dify_plugin.interfaces.model import Speech2TextModel

__all__ = ["Speech2TextModel"]
