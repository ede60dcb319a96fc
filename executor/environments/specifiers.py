"""Version specifiers of `requires-python`, as far as releases of Python need them.

Source: "Version specifiers" of the Python packaging specifications; for final releases only, which interpreters of a
host nearly always are.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SpecifierError", "allows"]

_CLAUSE: Final = re.compile(
    r"(~=|===|==|!=|<=|>=|<|>)\s*v?(\d{1,6}(?:\.\d{1,6}){0,5})(\.\*)?(?:(?:a|b|rc|\.dev|\.post)\d*)*"
)
MAX_LENGTH: Final = 1000


class SpecifierError(ValueError):
    """A text is no specifier."""


def allows(specifier: str, version: str) -> bool:
    """Tell whether a release is one of those that a specifier means.

    Args:
        specifier: Such as `>=3.11,<3.14`; all of its clauses count.
        version: Such as `3.12.1`; what is after its numbers is left out.

    Raises:
        SpecifierError: It is none.
    """
    if len(specifier) > MAX_LENGTH:
        raise SpecifierError(f"longer than {MAX_LENGTH} characters")
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    if numbers is None:
        raise SpecifierError(f"{version!r} is no version")
    have = _split(numbers[0])
    return all(_holds(clause.strip(), have) for clause in specifier.split(",") if clause.strip())


def _holds(clause: str, have: list[int]) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        raise SpecifierError(f"{clause!r} is no condition on a version, such as '>=3.11'")
    operator, text, star = found.groups()
    wanted = _split(text)
    if star:
        same = (have + [0] * len(wanted))[: len(wanted)] == wanted
        if operator not in {"==", "!="}:
            raise SpecifierError(f"{clause!r}: '.*' goes with '==' and '!=' only")
        return same == (operator == "==")
    if operator == "~=":
        if len(wanted) == 1:
            raise SpecifierError(f"{clause!r}: '~=' needs two numbers")
        prefix = wanted[:-1]
        return _pad(have) >= _pad(wanted) and _pad(have)[: len(prefix)] == prefix
    ours, theirs = _pad(have), _pad(wanted)
    return {
        "==": ours == theirs,
        "===": ours == theirs,
        "!=": ours != theirs,
        "<": ours < theirs,
        "<=": ours <= theirs,
        ">": ours > theirs,
        ">=": ours >= theirs,
    }[operator]


def _split(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def _pad(numbers: list[int]) -> list[int]:
    return (numbers + [0] * 6)[:6]
