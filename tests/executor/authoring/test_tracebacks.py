"""Tracebacks are read from their text, whatever is in it."""

from __future__ import annotations

import traceback

from hypothesis import given
from hypothesis import strategies as st

from executor.authoring.tracebacks import parse_traceback


def text_of(source: str) -> str:
    """The traceback of a program that fails."""
    try:
        exec(compile(source, "/plugin/endpoints/a.py", "exec"), {})  # noqa: S102
    except BaseException:  # noqa: BLE001
        return traceback.format_exc()
    raise AssertionError


def test_one_exception() -> None:
    """Its message, and where it was raised, the innermost frame last."""
    (raised,) = parse_traceback(text_of("def f():\n    return 1 // 0\nf()\n"))
    assert raised.message == "ZeroDivisionError: integer division or modulo by zero"
    assert [(frame.file, frame.line, frame.name) for frame in raised.frames[1:]] == [
        ("/plugin/endpoints/a.py", 3, "<module>"),
        ("/plugin/endpoints/a.py", 2, "f"),
    ]
    assert raised.link == ""


def test_a_chain() -> None:
    """What came out first, then what led to it."""
    source = """
try:
    try:
        {}['a']
    except KeyError as e:
        raise ValueError('b\\nc') from e
except ValueError:
    [][0]
"""
    chain = parse_traceback(text_of(source))
    assert [raised.message for raised in chain] == [
        "IndexError: list index out of range",
        "ValueError: b\nc",
        "KeyError: 'a'",
    ]
    assert [raised.link for raised in chain] == ["while handling", "caused by", ""]


def test_a_syntax_error() -> None:
    """The place is that of the mistake."""
    (raised,) = parse_traceback(text_of("x = (\n"))
    assert raised.message == "SyntaxError: '(' was never closed"
    assert (raised.frames[-1].file, raised.frames[-1].line) == ("/plugin/endpoints/a.py", 1)
    assert raised.frames[-1].code == "x = ("


def test_recursion_and_notes() -> None:
    """Repeated lines are passed over, and notes belong to the message."""
    (raised,) = parse_traceback(text_of("def f():\n    f()\nf()\n"))
    assert raised.message.startswith("RecursionError: ")
    (raised,) = parse_traceback(text_of("e = ValueError('a')\ne.add_note('  File \"x\", line 1')\nraise e"))
    assert raised.message == 'ValueError: a\n  File "x", line 1'


def test_what_is_none() -> None:
    """Groups, cut texts and anything else are left as they are."""
    assert parse_traceback("") == ()
    assert parse_traceback('  File "a", line 1, in b\n') == ()
    assert parse_traceback(text_of("raise ExceptionGroup('g', [ValueError('a')])")) == ()


LINES = st.sampled_from(
    [
        "Traceback (most recent call last):",
        '  File "/etc/passwd", line 1, in f',
        '  File "a", line 99999999999, in f',
        "    x = 1",
        "    ^^^",
        "",
        "The above exception was the direct cause of the following exception:",
        "KeyError: 1",
        "  note",
        "\x1b[31m",
    ]
)


@given(st.lists(LINES, max_size=12).map("\n".join) | st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Nothing is raised, and nothing is made up."""
    for raised in parse_traceback(text):
        assert raised.message
        assert all(line in text for line in raised.message.splitlines())
        for frame in raised.frames:
            assert f'File "{frame.file}", line {frame.line}' in text or f"line 0{frame.line}" in text
            assert frame.code in text
