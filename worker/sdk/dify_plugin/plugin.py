"""The object that a plugin's `main.py` makes. The executor does not run `main.py`; the name is here to be imported."""

from __future__ import annotations

from typing import NoReturn

from dify_plugin.config.config import DifyPluginEnv

__all__ = ["Plugin"]


class Plugin:
    """A plugin as a process of its own, which it is not here.

    Args:
        config: Kept, and used for nothing.
    """

    def __init__(self, config: DifyPluginEnv) -> None:
        self.config = config

    def run(self) -> NoReturn:
        """Refuse to serve.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("the executor serves this plugin; its main.py is not to be run with the bundled dify_plugin")
