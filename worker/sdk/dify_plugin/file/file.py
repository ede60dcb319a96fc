"""A file that Dify passes on."""

from __future__ import annotations

from typing import NoReturn

from dify_plugin.core.runtime import ReverseCallError
from dify_plugin.data import Data

__all__ = ["File"]


class File(Data):
    """Where a file is, and what is known about it."""

    mime_type = None
    filename = None
    extension = None
    size = -1

    @property
    def blob(self) -> NoReturn:
        """The content, which only Dify has.

        Raises:
            ReverseCallError: Always.
        """
        raise ReverseCallError("the content of a file that Dify passes on is with Dify, and is not fetched here")
