"""Texts for people, in several languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from executor.catalog.cursor import Cursor
from executor.catalog.findings import Code
from executor.catalog.scalars import Kind

__all__ = ["FALLBACK", "LOCALES", "LocalText", "read_text"]

FALLBACK: Final = "en_US"
"""The language that every text must have."""

LOCALES: Final = (FALLBACK, "zh_Hans", "pt_BR", "ja_JP")
"""The languages that Dify knows. Others, such as `zh_Hant`, are ignored without a word, as Dify does."""

SPELLINGS: Final = {"ja_Jp": "ja_JP"}
"""Misspelt keys of real plugins, and of Dify's own documentation."""


@dataclass(frozen=True, slots=True)
class LocalText:
    """A text in some of the known languages; empty when nothing was declared."""

    texts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The text in the language that every text must have."""
        return self.get(FALLBACK)

    def get(self, locale: str) -> str:
        """The text in a language, or else in the language that every text must have."""
        return self.texts.get(locale) or self.texts.get(FALLBACK, "")


def read_text(at: Cursor, *, required: bool = False) -> LocalText:
    """Read a text for people: a map from language to text with at least `en_US`."""
    if not at.given and not required:
        return LocalText()
    expected = f"a map of texts with the key {FALLBACK}"
    if not at.is_a(Kind.MAP):
        if not at.excused:
            at.add(Code.FIELD_TEXT, expected=expected)
        return LocalText({FALLBACK: at.text()} if at.is_a(Kind.TEXT) else {})
    texts: dict[str, str] = {}
    for key in at.keys():  # noqa: SIM118 - not a mapping
        locale = SPELLINGS.get(key, key)
        value = at.key(key)
        if locale not in LOCALES or not value.given:
            continue
        if value.is_a(Kind.LIST, Kind.MAP):
            value.add(Code.FIELD_TEXT, expected="a text")
        texts.setdefault(locale, value.node.written if value.node is not None else "")
    if FALLBACK not in texts:
        at.key(FALLBACK).add(Code.FIELD_TEXT, expected=expected)
    return LocalText(texts)
