"""Exceptions, written for the author of an endpoint."""

from __future__ import annotations

import pytest

from protocol import MAX_ERROR_TEXT
from worker.channel import Channel
from worker.tracebacks import describe_error, format_error, shorten


class OddError(Exception):
    """An exception that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError


def catch(*causes: BaseException) -> BaseException:
    """Raise an exception, each next one from the one before."""
    try:
        try:
            raise causes[0]
        except BaseException as error:
            if len(causes) > 1:
                raise causes[1] from error
            raise
    except BaseException as error:  # noqa: BLE001 - that is what is wanted
        return error


def test_describe() -> None:
    """One line, whatever the exception is."""
    assert describe_error(KeyError("a")) == "KeyError: 'a'"
    assert describe_error(SystemExit()) == "SystemExit"
    noted = KeyError("a")
    noted.add_note("a note")
    assert describe_error(noted) == "KeyError: 'a'"
    assert describe_error(ValueError("one\ntwo")) == "ValueError: one\ntwo"
    assert describe_error(OddError()).endswith("OddError: <exception str() failed>")
    assert len(describe_error(ValueError("é" * MAX_ERROR_TEXT)).encode()) <= MAX_ERROR_TEXT
    assert describe_error(ValueError("\udc80")).replace("?", "\\udc80") == "ValueError: \\udc80"


def test_describe_syntax_error() -> None:
    """A syntax error is described by its message; its place is in the traceback."""
    with pytest.raises(SyntaxError) as caught:
        compile("x = (", "plugin.py", "exec")

    assert describe_error(caught.value) == "SyntaxError: '(' was never closed"
    assert 'File "plugin.py", line 1' in format_error(caught.value)


def test_describe_group() -> None:
    """Of a group its own line is given, and its parts are in the traceback."""
    group = ExceptionGroup("several", [ValueError("one"), TypeError("two")])

    assert "several" in describe_error(group)
    assert "TypeError: two" in format_error(group)


def test_frames_of_ours_are_left_out() -> None:
    """The endpoint's frames are shown, with causes, and ours are not."""
    with pytest.raises(OSError, match="Bad file") as caught:
        Channel().open(-1, -1)
    text = format_error(catch(caught.value, RuntimeError("outer")))

    assert "channel.py" not in text
    assert "test_frames_of_ours_are_left_out" in text
    assert "RuntimeError: outer" in text
    assert "direct cause" in text


def test_deep_recursion() -> None:
    """Endless recursion is abbreviated."""

    def recurse() -> None:
        recurse()

    with pytest.raises(RecursionError) as caught:
        recurse()

    assert len(format_error(caught.value)) < 3000


def test_shorten() -> None:
    """The middle is cut out, at the size and on characters' boundaries."""
    assert shorten("short", 100) == "short"
    for limit in range(50, 60):
        text = shorten("é" * 1000 + "the end", limit)
        assert len(text.encode()) <= limit
        assert text.startswith("é")
        assert text.endswith("the end")
    assert shorten("a\udc80b", 100) == "a?b"
