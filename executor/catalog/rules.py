"""The rules of routes: werkzeug's, made safe for rules that nobody vouches for.

werkzeug turns what stands between two slashes into one regular expression, and everything from a `path` variable on.
With several variables in one expression, a request can be made to try every way to divide a text among them: three
`path` variables and a path of 16 KiB would keep the supervisor busy for days. So wherever variables share an
expression, their length is bounded such that all ways to divide a path among them are at most `MAX_WAYS`. Two
variables may then hold 500 characters each, three 62. A variable that shares its expression with no other is never
bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from werkzeug.routing import BaseConverter, Map, PathConverter, Rule
from werkzeug.routing.converters import NumberConverter
from werkzeug.routing.rules import parse_converter_args

from executor.catalog.findings import Code, show

__all__ = ["PIECE", "BoundedRule", "RuleError", "check_rule", "create_map"]

MAX_RULE: Final = 512
"""Characters of a rule."""

MAX_SEGMENTS: Final = 64
"""Slashes of a rule; werkzeug recurses once for each."""

MAX_WAYS: Final = 250_000
"""Ways to divide a path among the variables of one expression; some milliseconds."""

MIN_LENGTH: Final = 8
"""Least bound of a variable that makes sense; rules that would need a smaller one are refused."""

CONVERTERS: Final = ("string", "int", "float", "path", "any", "uuid")

PIECE: Final = re.compile(
    r"""
      (?P<slash> / )
    | < (?: (?P<converter> [a-zA-Z_][a-zA-Z0-9_]* ) (?: \( (?P<arguments> .*? ) \) )? : )?
        (?P<variable> [a-zA-Z_][a-zA-Z0-9_]* ) >
    | (?P<static> [^</]+ )
    """,
    re.VERBOSE,
)
"""The grammar of werkzeug.routing.rules."""


UNBOUNDED: Final = re.compile(r"\[\^/\]\{(?P<least>\d+),(?P<most>\d*)\}")
"""The expression of werkzeug's `string` converter."""


class RuleError(ValueError):
    """A rule cannot be served.

    Attributes:
        code: What kind of mistake.
        found: What was found.
        expected: What would have been right.
    """

    def __init__(self, code: Code, found: str, expected: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.code = code
        self.found = found
        self.expected = expected


class BoundedRule(Rule):
    """A rule of werkzeug with its variables bounded where they share an expression."""

    def __init__(self, path: str, *, endpoint: object = None, methods: Sequence[str] | None = None) -> None:
        super().__init__(path, endpoint=endpoint, methods=methods)
        self._bounds = _bounds(path)
        self.expressions: dict[str, str] = {}

    def get_converter(
        self, variable_name: str, converter_name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> BaseConverter:
        """Create the converter of a variable, and bound it."""
        if converter_name not in self.map.converters:
            raise RuleError(
                Code.ENDPOINT_PATH_CONVERTER, f"the converter {show(converter_name)}", f"one of {', '.join(CONVERTERS)}"
            )
        if variable_name in self.expressions:
            raise RuleError(Code.ENDPOINT_PATH_VARIABLE, f"<{variable_name}> twice", "each variable once")
        converter = super().get_converter(variable_name, converter_name, args, kwargs)
        self.expressions[variable_name] = converter.regex
        bound = self._bounds.get(variable_name)
        if bound is not None:
            converter.regex = _bound_expression(converter, bound)
        _check_converter(converter)
        return converter

    @property
    def equivalence(self) -> str:
        """What two rules have in common that match the same paths: the rule without the names of its variables."""
        rule = re.sub("/{2,}", "/", self.rule)
        return "".join(
            f"<{self.expressions.get(piece['variable'], '')}>" if piece["variable"] else piece.group()
            for piece in PIECE.finditer(rule)
        )


def create_map(rules: Iterable[Rule]) -> Map:
    """Put rules into a map, with redirects for missing and for doubled slashes."""
    return Map(rules, strict_slashes=True, merge_slashes=True)


def check_rule(path: str) -> str:
    """Check a rule.

    Args:
        path: As it was declared.

    Returns:
        Its equivalence: the same for rules that match the same paths.

    Raises:
        RuleError: It is not a rule, or too costly to be served.
    """
    if not path.startswith("/"):
        raise RuleError(Code.ENDPOINT_PATH_SLASH, show(path), "a path that starts with a slash")
    if len(path) > MAX_RULE:
        raise RuleError(Code.ENDPOINT_PATH_COSTLY, f"{len(path)} characters", f"at most {MAX_RULE} characters")
    if path.count("/") > MAX_SEGMENTS:
        raise RuleError(Code.ENDPOINT_PATH_COSTLY, f"{path.count('/')} slashes", f"at most {MAX_SEGMENTS} slashes")
    try:
        rule = BoundedRule(path)
        create_map([rule])
    except RuleError:
        raise
    except Exception as error:
        reason = str(error).removesuffix(f": {path!r}") or type(error).__name__
        raise RuleError(Code.ENDPOINT_PATH_RULE, f"{show(path)} ({reason})", "a rule of werkzeug") from error
    return rule.equivalence


def _check_converter(converter: BaseConverter) -> None:
    """Refuse what werkzeug would trip over at the first request."""
    re.compile(converter.regex)
    if isinstance(converter, NumberConverter):
        for limit in (converter.min, converter.max):
            if not isinstance(limit, int | float | None):
                raise TypeError(f"{limit!r} is not a number")


def _bounds(path: str) -> dict[str, int]:
    """Find how long the variables of a rule may be that share an expression with others."""
    bounds: dict[str, int] = {}
    for crowd in _crowds(path):
        if len(crowd) < 2:  # noqa: PLR2004 - alone
            continue
        ways = math.prod(variable.choices for variable in crowd)
        free = [variable.name for variable in crowd if variable.free]
        bound = int((MAX_WAYS / ways) ** (1 / len(free))) if free else 1
        if ways > MAX_WAYS or (free and bound < MIN_LENGTH):
            raise RuleError(
                Code.ENDPOINT_PATH_COSTLY,
                f"{len(crowd)} variables that may divide a text among them in too many ways",
                "fewer variables between two slashes, or after a path variable",
            )
        bounds.update(dict.fromkeys(free, bound))
    return bounds


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable of a rule.

    Attributes:
        name: Its name.
        free: Whether texts of many lengths fit.
        choices: Number of texts that fit, when it is a closed list; else 1.
    """

    name: str
    free: bool
    choices: int


def _crowds(path: str) -> list[list[_Variable]]:
    """Group the variables of a rule by the expression that they end up in."""
    crowds: list[list[_Variable]] = [[]]
    final = False
    for piece in PIECE.finditer(path):
        if piece["slash"] and not final:
            crowds.append([])
        if piece["variable"]:
            converter = piece["converter"]
            items = parse_converter_args(piece["arguments"] or "")[0] if converter == "any" else ()
            crowds[-1].append(
                _Variable(piece["variable"], free=converter not in {"any", "uuid"}, choices=max(len(items), 1))
            )
            final = final or converter == "path"
    return crowds


def _bound_expression(converter: BaseConverter, bound: int) -> str:
    """Bound the expression of a converter to texts of at most `bound` characters more than its least."""
    if isinstance(converter, PathConverter):
        return f"[^/].{{0,{bound}}}?"
    if isinstance(converter, NumberConverter):
        return converter.regex.replace("+", f"{{1,{bound}}}")
    length = UNBOUNDED.fullmatch(converter.regex)
    if length is None:
        return converter.regex
    least = int(length["least"])
    most = min(int(length["most"] or least + bound), least + bound)
    return f"[^/]{{{least},{most}}}"
