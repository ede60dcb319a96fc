"""Code that is made anew close together: it does the same as before, for everybody who runs it."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, Final

import pytest

from tests.worker.forked import in_child
from worker.compaction import _list_functions, compact, list_codes

PAGE: Final = resource.getpagesize()
MANY: Final = 200
OTHERS: Final = [f"other_{number}" for number in range(20)]
LONG: Final = 40
"""Lines that make the code of a function larger than what pools of small objects have room for."""


def make_functions(lines: int) -> list[FunctionType]:
    """Make functions, between which lies the code of others."""
    body = "".join(f"    value += {line}\n" for line in range(lines))
    functions: list[FunctionType] = []
    for number in range(MANY):
        names: dict[str, Any] = {}
        text = f"(value):\n{body}    return value + {number}\n"
        exec("".join(f"def {name}{text}" for name in ("run", *OTHERS)), names)  # noqa: S102
        functions.append(names["run"])
    return functions


def pages(codes: list[CodeType]) -> int:
    """How many pages the heads of code objects lie in."""
    return len({id(code) // PAGE for code in codes})


def counter(start: int) -> Callable[[], Iterator[int]]:
    """A generator in a closure, with code within code within code."""

    def count() -> Iterator[int]:
        yield from (start + number for number in range(3))

    return count


def fail(*, deep: bool = True) -> None:
    """Raise from a known line."""
    if deep:
        raise ValueError


def gather() -> list[bool]:
    """Whether code lies in fewer pages than before, and does what it did."""
    answers = []
    for lines in (1, LONG):
        functions = make_functions(lines)
        before = pages([one.__code__ for one in functions])
        expected = [one(1) for one in functions]
        new = compact([id(one.__code__) for one in functions])
        answers += [
            pages(new) < before / 2,
            len(new) == MANY,
            [one.__code__ for one in functions] == new
            and all(one.__code__ is two for one, two in zip(functions, new, strict=True)),
            [one(1) for one in functions] == expected,
        ]
    return answers


def test_code_lies_together() -> None:
    """Small code and large comes to lie in less than half of the pages, and every function has its own."""
    assert in_child(gather) == [True] * 8


def renew_within() -> list[object]:
    """What functions within functions do whose code was made anew, those that there are and those to come."""
    old = counter(10)
    outer, inner = counter.__code__, old.__code__
    compact(map(id, [outer, inner, *(one for one in inner.co_consts if isinstance(one, CodeType))]))
    return [
        counter.__code__ is not outer,
        old.__code__ is not inner,
        counter(20).__code__ is old.__code__,
        [*old()],
        [*counter(20)()],
    ]


def test_functions_within_functions() -> None:
    """Closures and generators go on, and those that are made later have the new code, too."""
    assert in_child(renew_within) == [True, True, True, [10, 11, 12], [20, 21, 22]]


def raise_from_new() -> list[object]:
    """Line, name and file of a traceback."""
    code = fail.__code__
    compact([id(code)])
    with pytest.raises(ValueError, match=r"^$") as raised:
        fail()
    place = raised.traceback[-1]
    return [
        place.lineno + 1 - code.co_firstlineno,
        place.frame.raw.f_code is fail.__code__ is not code,
        place.name,
        str(place.path) == __file__,
        fail.__kwdefaults__,
    ]


def test_tracebacks_are_right() -> None:
    """Lines and names are the old ones."""
    assert in_child(raise_from_new) == [3, True, "fail", True, {"deep": True}]


def test_all_code_is_listed() -> None:
    """Functions, and what is within them, by their addresses."""
    found = list_codes(_list_functions())
    assert found[id(counter.__code__)] is counter.__code__
    assert found[id(counter(1).__code__)] is counter(1).__code__
    assert all(id(code) == address for address, code in found.items())


def test_nothing_to_do() -> None:
    """Without code nothing is made."""
    assert compact([]) == []
