"""The base class of endpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

from werkzeug.wrappers import Request, Response

from dify_plugin.core.runtime import Session

__all__ = ["Endpoint"]


class Endpoint(ABC):
    """One HTTP endpoint of a plugin; a new instance serves every request.

    Args:
        session: Who is called, and the way to call Dify.
    """

    @final
    def __init__(self, session: Session) -> None:
        self.session = session

    @abstractmethod
    def _invoke(self, r: Request, values: Mapping[str, Any], settings: Mapping[str, Any]) -> Response:
        """Answer a request.

        Args:
            r: The request; its path is the one below the hook.
            values: Converted parts of the path, by name.
            settings: Settings of the hook, by name.

        Raises:
            ValueError: The answer is 404 with the text of the error.
        """
