"""The settings of a plugin: what is declared, and whether given values fit.

Values are checked as Dify's daemon checks them, with these differences: defaults are filled in where a key is absent;
`0`, `1`, "true" and "false" become booleans; everything that is wrong is reported at once. A null that is given stays
null. Keys that are not declared pass as they are.

No message ever contains a value, except that of a `select` that is not one of its options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from executor.catalog.findings import printable, shorten, show
from executor.catalog.i18n import LocalText
from executor.catalog.values import NotPlainError, copy_plain

__all__ = [
    "MAX_SETTINGS",
    "Option",
    "Resolved",
    "Setting",
    "SettingProblem",
    "SettingType",
    "ValueRefusedError",
    "check_value",
    "mask",
    "resolve_settings",
]

MAX_SETTINGS: Final = 64
"""Settings of a hook, as in Dify."""

SHOWN_WHOLE: Final = 6
"""Longest secret of which the mask shows nothing."""


class SettingType(Enum):
    """The types of settings; the value is the name in YAML."""

    SECRET_INPUT = "secret-input"  # noqa: S105 - not a secret
    TEXT_INPUT = "text-input"
    SELECT = "select"
    BOOLEAN = "boolean"
    APP_SELECTOR = "app-selector"
    MODEL_SELECTOR = "model-selector"
    TOOLS = "array[tools]"


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a `select`."""

    value: str
    label: LocalText = field(default_factory=LocalText)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A declared setting.

    Attributes:
        name: Key in the settings of a hook, unique in the plugin.
        type: What kind of value.
        required: Whether it must be present and not null.
        default: Filled in where the key is absent, in the form that endpoints get; `None` for no default.
        options: The choices of a `select`, in order.
        scope: Which apps or models may be chosen, as it was written; may be empty.
        multiple: Whether several values may be chosen, as a list.
        label: Name for people.
        placeholder: Example for people.
        help: Explanation for people.
        url: Where to read more; may be empty.
    """

    name: str
    type: SettingType
    required: bool = False
    default: object = None
    options: tuple[Option, ...] = ()
    scope: str = ""
    multiple: bool = False
    label: LocalText = field(default_factory=LocalText)
    placeholder: LocalText = field(default_factory=LocalText)
    help: LocalText = field(default_factory=LocalText)
    url: str = ""

    @property
    def secret(self) -> bool:
        """Whether its value must be kept from people."""
        return self.type is SettingType.SECRET_INPUT

    @property
    def is_structured(self) -> bool:
        """Whether its value is a map or a list, which is no text on a command line."""
        return self.multiple or self.type in {SettingType.APP_SELECTOR, SettingType.MODEL_SELECTOR, SettingType.TOOLS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingProblem:
    """One thing that is wrong with the values of a hook.

    Attributes:
        name: Name of the setting; empty for the settings as a whole.
        found: What was found; never a value, except that of a `select`.
        expected: What would have been right.
        message: The whole in one sentence.
    """

    name: str
    found: str
    expected: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The settings of a hook, ready for its endpoints.

    Attributes:
        values: Fresh plain data. Only to be used when there are no problems.
        problems: Everything that is wrong.
    """

    values: dict[str, object]
    problems: tuple[SettingProblem, ...]


class ValueRefusedError(ValueError):
    """A value does not fit its setting.

    Attributes:
        found: What it is; never the value itself, except that of a `select`.
        expected: What would have been right.
    """

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.found = found
        self.expected = expected


def resolve_settings(schema: Sequence[Setting], given: Mapping[str, object]) -> Resolved:
    """Check the values given for a hook, fill in defaults, convert booleans.

    Args:
        schema: What the plugin declares.
        given: Values by name, plain data; not changed.
    """
    values: dict[str, object] = {}
    problems: list[SettingProblem] = []
    if len(given) > MAX_SETTINGS:
        problems.append(_problem("", f"{len(given)} settings", f"at most {MAX_SETTINGS} settings"))
    declared = {setting.name: setting for setting in schema}
    for name, value in given.items():
        try:
            if not isinstance(name, str):
                raise NotPlainError("a name that is not a text", "a text as name")
            plain = copy_plain(value)
            setting = declared.get(name)
            values[name] = plain if setting is None else check_value(setting, plain)
        except (NotPlainError, ValueRefusedError) as error:
            problems.append(_problem(str(name), error.found, error.expected))
    for setting in schema:
        if setting.name in given:
            continue
        if setting.default is not None:
            values[setting.name] = copy_plain(setting.default)
        elif setting.required:
            problems.append(_problem(setting.name, "nothing", _describe(setting)))
    return Resolved(values=values, problems=tuple(problems))


def check_value(setting: Setting, value: object) -> object:
    """Check one value, plain data, and bring it into the form that endpoints get.

    Raises:
        ValueRefusedError: It does not fit.
    """
    if value is None:
        if setting.required:
            raise ValueRefusedError("null", _describe(setting))
        return None
    check = CHECKS[setting.type]
    if setting.multiple and isinstance(value, list) and setting.type is not SettingType.TOOLS:
        return [check(setting, item) for item in value]
    return check(setting, value)


def mask(value: str) -> str:
    """Hide a secret: the first and last two characters of longer ones stay, all others become stars."""
    if len(value) <= SHOWN_WHOLE:
        return "*" * len(value)
    return f"{value[:2]}{'*' * (len(value) - 4)}{value[-2:]}"


def _check_text(setting: Setting, value: object) -> object:
    if not isinstance(value, str):
        raise ValueRefusedError(_kind(value), _describe(setting))
    return value


def _check_select(setting: Setting, value: object) -> object:
    if value not in [option.value for option in setting.options]:
        raise ValueRefusedError(show(value) if isinstance(value, str) else _kind(value), _describe(setting))
    return value


def _check_boolean(setting: Setting, value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in BOOLEANS:
        return BOOLEANS[value.lower()]
    if isinstance(value, int) and value in {0, 1}:
        return value == 1
    raise ValueRefusedError(_kind(value), _describe(setting))


def _check_map(*keys: str) -> Callable[[Setting, object], object]:
    def check(setting: Setting, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueRefusedError(_kind(value), _describe(setting))
        needed = (*keys, *SCOPE_KEYS.get(setting.scope, ())) if "model" in keys else keys
        missing = [key for key in needed if key not in value]
        if missing:
            raise ValueRefusedError(f"a map without {_join(missing)}", _describe(setting))
        return value

    return check


def _check_list(setting: Setting, value: object) -> object:
    if not isinstance(value, list):
        raise ValueRefusedError(_kind(value), _describe(setting))
    return value


BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}

SCOPE_KEYS: Final = {"rerank": ("score_threshold", "top_n"), "tts": ("voice",), "vision": ("completion_params",)}
"""Keys that a model must have in addition when its setting has this scope, as Dify's daemon has it."""

CHECKS: Final[Mapping[SettingType, Callable[[Setting, object], object]]] = {
    SettingType.SECRET_INPUT: _check_text,
    SettingType.TEXT_INPUT: _check_text,
    SettingType.SELECT: _check_select,
    SettingType.BOOLEAN: _check_boolean,
    SettingType.APP_SELECTOR: _check_map("app_id"),
    SettingType.MODEL_SELECTOR: _check_map("provider", "model", "model_type"),
    SettingType.TOOLS: _check_list,
}


def _describe(setting: Setting) -> str:
    """Say what a setting wants."""
    match setting.type:
        case SettingType.SECRET_INPUT | SettingType.TEXT_INPUT:
            return "a text"
        case SettingType.SELECT:
            return f"one of {shorten(_join([option.value for option in setting.options]), 200)}"
        case SettingType.BOOLEAN:
            return "true or false"
        case SettingType.APP_SELECTOR:
            return "a map with app_id"
        case SettingType.MODEL_SELECTOR:
            extra = SCOPE_KEYS.get(setting.scope, ())
            return f"a map with {_join(['provider', 'model', 'model_type', *extra])}"
        case SettingType.TOOLS:
            return "a list of tools"


def _kind(value: object) -> str:
    """Say what a value is without showing it."""
    names = {str: "a text", bool: "a boolean", int: "an integer", float: "a number", list: "a list", dict: "a map"}
    return "null" if value is None else names.get(type(value), "something else")


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)


def _problem(name: str, found: str, expected: str) -> SettingProblem:
    name = printable(shorten(name))
    message = f"expected {expected}, found {found}"
    return SettingProblem(
        name=name, found=found, expected=expected, message=printable(f"setting {name}: {message}" if name else message)
    )
