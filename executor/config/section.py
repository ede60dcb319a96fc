"""What all sections of the configuration have in common."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Section"]


class Section(BaseModel):
    """A map with known keys. It never changes, and never shows what it was given in errors of its own making."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty_parts(cls, value: object) -> object:
        """Take maps and lists of which only the key is left, `hooks:`, as not given; single values must be given."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            return value
        containers = {name for name, field in cls.model_fields.items() if field.default_factory or field.default == ()}
        return {key: item for key, item in value.items() if item is not None or key not in containers}
