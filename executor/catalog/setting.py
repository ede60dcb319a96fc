"""The declaration of settings, as a list or as a map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.findings import Code, show
from executor.catalog.i18n import read_text
from executor.catalog.scalars import Kind
from executor.catalog.settings import (
    Option,
    Setting,
    SettingType,
    ValueRefusedError,
    check_value,
)
from executor.catalog.values import NotPlainError, copy_plain

__all__ = ["SettingDraft", "read_settings"]

MAX_NAME: Final = 1023
"""Characters of a setting's name, as in Dify."""

MAX_OPTIONS: Final = 127
"""Options of a setting, as in Dify."""

TYPES: Final = {member.value: member for member in SettingType}

TEXTS: Final = {SettingType.TEXT_INPUT, SettingType.SECRET_INPUT, SettingType.SELECT}
"""Types whose values are texts."""

SCOPES: Final = {
    SettingType.APP_SELECTOR: ("all", "chat", "workflow", "completion"),
    SettingType.MODEL_SELECTOR: (
        "all",
        "llm",
        "text-embedding",
        "rerank",
        "tts",
        "speech2text",
        "moderation",
        "vision",
    ),
}
"""The scopes that Dify accepts when a hook is made; its check of declarations also accepts some that then fail."""


@dataclass(frozen=True, slots=True)
class SettingDraft:
    """A setting and where it is declared."""

    setting: Setting
    at: Cursor


def read_settings(at: Cursor) -> tuple[SettingDraft, ...]:
    """Read the settings of a group: a list of maps with names, a map by name, null, or nothing at all."""
    if at.node is None:
        return ()
    if not at.is_a(Kind.LIST):
        return _read_map(at)
    drafts: dict[str, SettingDraft] = {}
    for item in at.items():
        item.expect(Kind.MAP)
        at_name = item.key("name")
        draft = SettingDraft(_read_setting(item, _read_name(at_name)), item)
        name = draft.setting.name
        if name and name in drafts:
            found = f"{show(name)} again, first on line {drafts[name].at.line}"
            at_name.add(Code.SETTING_DUPLICATE, found=found, expected="each name once")
        elif name:
            drafts[name] = draft
    return tuple(drafts.values())


def _read_map(at: Cursor) -> tuple[SettingDraft, ...]:
    if at.given and not at.expect(Kind.MAP, Kind.LIST):
        return ()
    at.add(
        Code.GROUP_SETTINGS_FORM,
        expected="a list of maps with names",
        hint="it is understood here, but not by Dify",
    )
    drafts = []
    for key in at.keys():  # noqa: SIM118 - not a mapping
        item = at.key(key)
        item.expect(Kind.MAP)
        drafts.append(SettingDraft(_read_setting(item, _read_name(at.key_cursor(key))), item))
    return tuple(drafts)


def _read_name(at: Cursor) -> str:
    name = at.text() if not at.is_a(Kind.TIMESTAMP) else at.node.written if at.node else ""
    if at.given and not 0 < len(name) <= MAX_NAME:
        at.add(Code.SETTING_NAME, found=f"{len(name)} characters", expected=f"1 to {MAX_NAME} characters")
    return name


def _read_setting(at: Cursor, name: str) -> Setting:
    setting = Setting(
        name=name,
        type=_read_type(at.key("type")),
        required=at.key("required").boolean(default=False),
        options=_read_options(at.key("options")),
        scope=at.key("scope").text(required=False),
        multiple=at.key("multiple").boolean(default=False),
        label=read_text(at.key("label"), required=True),
        placeholder=read_text(at.key("placeholder")),
        help=read_text(at.key("help")),
        url=at.key("url").text(required=False),
    )
    _check_options(setting, at.key("options"), at)
    _check_scope(setting, at.key("scope"))
    return replace(setting, default=_read_default(setting, at))


def _read_type(at: Cursor) -> SettingType:
    """Read the type; a text where it is not known, so that as much as possible is checked."""
    name = at.text()
    if at.is_a(Kind.TEXT) and name not in TYPES:
        at.add(Code.SETTING_TYPE, expected=f"one of {', '.join(TYPES)}")
    return TYPES.get(name, SettingType.TEXT_INPUT)


def _read_options(at: Cursor) -> tuple[Option, ...]:
    options: dict[str, Option] = {}
    for item in at.items():
        item.expect(Kind.MAP)
        at_value = item.key("value")
        option = Option(at_value.text(), read_text(item.key("label"), required=True))
        if option.value in options:
            at_value.add(Code.SETTING_OPTIONS, expected="each option once")
        elif at_value.is_a(Kind.TEXT):
            options[option.value] = option
    return tuple(options.values())


def _check_options(setting: Setting, at: Cursor, around: Cursor) -> None:
    if setting.type is SettingType.SELECT and not at.given and around.is_a(Kind.MAP):
        at.add(Code.SETTING_OPTIONS, expected="a list of options")
    elif setting.type is SettingType.SELECT and at.is_a(Kind.LIST) and not at.items():
        at.add(Code.SETTING_OPTIONS, found="an empty list", expected="a list of options")
    elif setting.type is not SettingType.SELECT and setting.options:
        at.add(Code.SETTING_OPTIONS_UNUSED, expected=f"no options for {setting.type.value}")
    if len(setting.options) > MAX_OPTIONS:
        found = f"{len(setting.options)} options"
        at.add(Code.SETTING_OPTIONS, found=found, expected=f"at most {MAX_OPTIONS} options")


def _check_scope(setting: Setting, at: Cursor) -> None:
    if not setting.scope:
        return
    scopes = SCOPES.get(setting.type)
    if scopes is None:
        at.add(Code.SETTING_SCOPE, expected=f"no scope for {setting.type.value}")
    elif setting.scope not in scopes:
        at.add(Code.SETTING_SCOPE, expected=f"one of {', '.join(scopes)}")


def _is_known(setting: Setting, at_type: Cursor) -> bool:
    """Tell whether it is known which values a setting takes."""
    known = at_type.is_a(Kind.TEXT) and at_type.plain() in TYPES
    return known and (bool(setting.options) or setting.type is not SettingType.SELECT)


def _read_default(setting: Setting, at: Cursor) -> object:
    """Read the default in the form that endpoints get; `None` when there is none."""
    default = at.key("default")
    if not default.given or not _is_known(setting, at.key("type")):
        return None
    if setting.type is SettingType.SELECT and default.plain() == "":
        return None
    try:
        return check_value(setting, copy_plain(default.plain()))
    except (NotPlainError, ValueRefusedError) as error:
        found = error.found if setting.secret or default.is_a(Kind.LIST, Kind.MAP) else default.describe()
        quoted = default.is_a(Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN) and setting.type in TEXTS
        hint = "put it in quotes" if quoted else ""
        default.add(Code.SETTING_DEFAULT, found=found, expected=error.expected, hint=hint)
        return None
