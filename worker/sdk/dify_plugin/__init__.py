"""A stand-in for the Dify plugin SDK: what endpoint code imports from it, and nothing that talks to Dify.

It is used where the real SDK is not installed. The names and their places are those of the SDK; the code is our own.
Everything that would call Dify raises `ReverseCallError` (`dify_plugin.core.runtime`).
"""

from __future__ import annotations

from dify_plugin.interfaces.endpoint import Endpoint

__all__ = ["Endpoint"]
