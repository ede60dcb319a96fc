"""The settings that a plugin's `main.py` passes on."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any

__all__ = ["DifyPluginEnv", "InstallMethod"]


class InstallMethod(Enum):
    """How a plugin talks to Dify."""

    Local = "local"
    Remote = "remote"
    Serverless = "serverless"


class DifyPluginEnv:
    """Settings by name: as given, else from the environment, else the default.

    Unlike in the SDK, a file `.env` is not read.
    """

    MAX_REQUEST_TIMEOUT: int = 300
    MAX_INVOCATION_TIMEOUT: int = 250
    MAX_WORKER: int = 1000
    HEARTBEAT_INTERVAL: float = 10.0
    INSTALL_METHOD: InstallMethod = InstallMethod.Local
    DIFY_PLUGIN_DAEMON_URL: str = "http://localhost:5002"
    HTTPX_TIMEOUT: int = 5

    def __init__(self, **given: Any) -> None:
        for name in type(self).__annotations__:
            default = getattr(type(self), name)
            if name in os.environ:
                setattr(self, name, type(default)(os.environ[name]))
        for name, value in given.items():
            setattr(self, name, value)
