"""What commands about installed plugins and hooks cannot do."""

from __future__ import annotations

from collections.abc import Sequence

from executor.errors import ExecutorError

__all__ = ["BrokenVersionError", "InstalledError", "SettingsRefusedError"]


class InstalledError(ExecutorError):
    """Something that was named is not there, or not what is needed."""

    code = "installed.error"


class BrokenVersionError(InstalledError):
    """The files of an installed version are not there, or have been changed."""

    code = "installed.broken"


class SettingsRefusedError(InstalledError):
    """Values of settings do not fit what the plugin declares.

    Attributes:
        problems: Everything that is wrong, a sentence each; no value of a secret.
    """

    code = "installed.settings"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
