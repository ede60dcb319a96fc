"""Records of named values, as light as they can be.

The SDK's records are pydantic models. These keep what endpoint code does with them: making them from keywords, reading
and setting attributes, turning them into dictionaries and JSON, and being fields of pydantic models of the plugin.
They check nothing.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Self

__all__ = ["Data", "plain"]


class Data:
    """A record. Attributes of the class that hold plain values are the defaults.

    A text given for an attribute whose default is a member of an enumeration becomes the member with that value.
    """

    _kinds: ClassVar[Mapping[str, Any]] = {}
    """What given mappings and texts become, by the name of the attribute: a record, an enumeration, or one of these
    in a list, for a list of them."""

    def __init__(self, **given: Any) -> None:
        for name, default in _defaults(type(self)).items():
            value = given.get(name)
            if isinstance(default, Enum) and isinstance(value, str):
                given[name] = type(default)(value)
            setattr(self, name, copy.copy(default))
        self.__dict__.update({name: _convert(self._kinds.get(name), value) for name, value in given.items()})

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Attributes are those that were given."""

    @classmethod
    def model_validate(cls, data: Any) -> Self:
        """Make a record from a mapping; a record of the same class is returned as it is."""
        return data if isinstance(data, cls) else cls(**data)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Let pydantic models have records as fields, made of records or mappings."""
        schema = importlib.import_module("pydantic_core").core_schema
        serialization = schema.plain_serializer_function_ser_schema(lambda record: record.model_dump())
        return schema.no_info_plain_validator_function(cls._validate_field, serialization=serialization)

    @classmethod
    def _validate_field(cls, value: Any) -> Self:
        if isinstance(value, cls | Mapping):
            return cls.model_validate(value)
        raise ValueError(f"expected a {cls.__name__} or a mapping, found {type(value).__name__}")

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Make a record from a JSON object."""
        return cls(**json.loads(text))

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False, **_options: Any) -> dict[str, Any]:
        """Return the values, records in them as dictionaries; with `mode="json"` enumerations as their values."""
        values = {name: _plain(value, mode) for name, value in vars(self).items()}
        return {name: value for name, value in values.items() if value is not None or not exclude_none}

    def model_dump_json(self, *, exclude_none: bool = False, **_options: Any) -> str:
        """Return the values as a JSON object."""
        return json.dumps(self.model_dump(mode="json", exclude_none=exclude_none), ensure_ascii=False)

    def model_copy(self, *, update: dict[str, Any] | None = None, **_options: Any) -> Self:
        """Return a copy in which the values of `update` are exchanged."""
        return type(self)(**(vars(self) | (update or {})))

    dict = model_dump
    json = model_dump_json

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # records can be changed

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


def _convert(kind: Any, value: Any) -> Any:
    """Make what a record holds of what was given for it."""
    if isinstance(kind, list) and isinstance(value, list | tuple):
        return [_convert(kind[0], item) for item in value]
    if isinstance(kind, type) and issubclass(kind, Data) and isinstance(value, Mapping):
        return kind(**value)
    if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(value, str):
        return kind(value)
    return value


def _defaults(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if not issubclass(base, Data) or base is Data:
            continue
        found |= {name: value for name, value in vars(base).items() if _is_default(name, value)}
    return found


def _is_default(name: str, value: object) -> bool:
    return not name.startswith("_") and not callable(value) and not isinstance(value, property | classmethod)


def plain(value: Any) -> Any:
    """Return what JSON can hold in place of records and enumerations, at any depth."""
    return _plain(value, "json")


def _plain(value: Any, mode: str) -> Any:
    if isinstance(value, Data):
        return value.model_dump(mode=mode)
    if isinstance(value, Enum) and mode == "json":
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(item, mode) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, mode) for key, item in value.items()}
    return value
