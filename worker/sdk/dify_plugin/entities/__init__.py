"""Records that calls and declarations are made of."""

from __future__ import annotations

from typing import Any

from dify_plugin.data import Data

__all__ = ["I18nObject", "ParameterOption"]


class I18nObject(Data):
    """A text in several languages; a language that is missing has the English one."""

    def __init__(self, **given: Any) -> None:
        english = given.get("en_US", "")
        super().__init__(**({"zh_Hans": english, "pt_BR": english, "ja_JP": english} | given))

    def to_dict(self) -> dict[str, Any]:
        """Return the texts by language."""
        return self.model_dump()


class ParameterOption(Data):
    """A value to choose, with its label."""

    _kinds = {"label": I18nObject}  # noqa: RUF012
