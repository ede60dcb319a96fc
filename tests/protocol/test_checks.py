"""Checks of single values, at their limits and one beyond."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import checks
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_HEADER_BYTES, MAX_HEADERS

refused = pytest.raises(LocalProtocolError)


@given(st.text(st.characters()), st.integers(0, 60))
def test_clip_cuts_to_the_longest_beginning_that_fits(text: str, limit: int) -> None:
    """The result fits, is a beginning, and one more character would not fit."""
    clipped = checks.clip(text, limit)
    readable = text.encode(errors="replace").decode()
    assert len(clipped.encode()) <= limit
    assert readable.startswith(clipped) or clipped == text
    if len(clipped) < len(readable):
        assert len(readable[: len(clipped) + 1].encode()) > limit


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [("abc", 2, "ab"), ("abc", 3, "abc"), ("é", 1, ""), ("aé", 2, "a"), ("a\ud800b", 9, "a?b"), ("é" * 9, 0, "")],
)
def test_clip(text: str, limit: int, expected: str) -> None:
    """Some cases by hand: a character is never cut in two, and a lone surrogate becomes readable."""
    assert checks.clip(text, limit) == expected


@pytest.mark.parametrize("value", [0, 1, None, "True"])
def test_bools(value: object) -> None:
    """Only bools are bools."""
    checks.check_bool("x", True)
    checks.check_bool("x", False)
    with refused:
        checks.check_bool("x", value)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 6, -(10**50)])
def test_ints(value: object) -> None:
    """Ints have a range, and a bool is none; a huge one is not printed."""
    checks.check_int("x", 1, 1, 5)
    checks.check_int("x", 5, 1, 5)
    with refused as caught:
        checks.check_int("x", value, 1, 5)
    assert len(str(caught.value)) < 60


@pytest.mark.parametrize("value", [1, True, "1.0", None, 0.9, 5.1, float("nan"), float("inf")])
def test_floats(value: object) -> None:
    """Floats have a range, which NaN is not in, and an int is none."""
    checks.check_float("x", 1.0, 1.0, 5.0)
    checks.check_float("x", 5.0, 1.0, 5.0)
    with refused:
        checks.check_float("x", value, 1.0, 5.0)


@pytest.mark.parametrize("value", ["ab", bytearray(b"ab"), memoryview(b"ab"), None, b"", b"abcd"])
def test_bytes(value: object) -> None:
    """Bytes have a range of lengths."""
    checks.check_bytes("x", b"a", 1, 3)
    checks.check_bytes("x", b"abc", 1, 3)
    with refused:
        checks.check_bytes("x", value, 1, 3)


@pytest.mark.parametrize("value", [b"ab", None, 3, "", "abcd", "éé", "\ud800"])
def test_texts(value: object) -> None:
    """Texts are measured in bytes of UTF-8."""
    checks.check_text("x", "a", 1, 3)
    checks.check_text("x", "éa", 1, 3)
    with refused:
        checks.check_text("x", value, 1, 3)


@pytest.mark.parametrize("value", [["a"], "ab", None, ("a", "b", "c"), ("",), ("abcd",), (1,)])
def test_tuples_of_texts(value: object) -> None:
    """Tuples of texts have a number and a size."""
    checks.check_texts("x", (), 2, 3)
    checks.check_texts("x", ("a", "abc"), 2, 3)
    with refused:
        checks.check_texts("x", value, 2, 3)


@pytest.mark.parametrize("value", ["", "a b", "a\n", "é", "a:b", "abcdef", b"a", None])
def test_tokens(value: object) -> None:
    """Tokens are those of RFC 9110."""
    checks.check_token("x", "M-*_z", 5)
    with refused:
        checks.check_token("x", value, 5)


@pytest.mark.parametrize("value", ["c", "", None, 1, b"a", [], ["a"]])
def test_words(value: object) -> None:
    """Words come from a closed list; what cannot be hashed is no word either."""
    checks.check_word("x", "a", frozenset("ab"))
    with refused:
        checks.check_word("x", value, frozenset("ab"))


@pytest.mark.parametrize("value", [[], None, {"a": 1, "b": 2, "c": 3}, {"a": "x" * 20}, {"a": object()}, {1: 1}])
def test_maps(value: object) -> None:
    """Maps have a number of entries and a size, and hold plain data."""
    checks.check_map("x", {}, 2, 9)
    checks.check_map("x", {"a": 1, "b": 2}, 2, 9)
    with refused:
        checks.check_map("x", value, 2, 9)


@pytest.mark.parametrize(
    "value",
    [
        [(b"a", b"b")],
        None,
        ([b"a", b"b"],),
        ((b"a",),),
        ((b"a", b"b", b"c"),),
        (("a", b"b"),),
        ((b"a", "b"),),
        ((b"a", bytearray(b"b")),),
        ((b"", b"b"),),
        ((b"a", b"b"), (b"", b"")),
        ((b"a b", b""),),
        ((b"a:", b""),),
        ((b"a\nb", b""),),
        ((b"\xe9", b""),),
        ((b"a", b"x\r"),),
        ((b"a", b"x\n y"),),
        ((b"a", b"\0"),),
    ],
)
def test_headers(value: object) -> None:
    """Heads are tuples of pairs of bytes; names are tokens, values stay on their line."""
    checks.check_headers(())
    checks.check_headers(((b"A-1", b""), (b"a-1", b"\t\xff\x7f")))
    with refused:
        checks.check_headers(value)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_header(byte: int) -> None:
    """The table of allowed bytes, against the text of RFC 9110."""
    char = bytes([byte])
    for content, pairs in (
        (char in b"!#$%&'*+-.^_`|~0123456789" or (char.isalpha() and char.isascii()), ((b"a" + char, b""),)),
        (byte not in {0, 10, 13}, ((b"a", b"b" + char),)),
    ):
        if content:
            checks.check_headers(pairs)
        else:
            with refused:
                checks.check_headers(pairs)


def test_the_limits_of_a_head() -> None:
    """The number of fields and the bytes of all, at the limit and one beyond."""
    checks.check_headers(((b"a", b""),) * MAX_HEADERS)
    with pytest.raises(LocalProtocolError, match=f"{MAX_HEADERS + 1} fields, at most {MAX_HEADERS}"):
        checks.check_headers(((b"a", b""),) * (MAX_HEADERS + 1))
    checks.check_headers(((b"a", b"b" * (MAX_HEADER_BYTES - 1)),))
    with pytest.raises(LocalProtocolError, match=f"{MAX_HEADER_BYTES + 1} bytes"):
        checks.check_headers(((b"aa", b"b" * (MAX_HEADER_BYTES - 1)),))


def test_secret_values_are_not_shown() -> None:
    """The error names the field whose value is wrong, and does not show it."""
    with pytest.raises(LocalProtocolError, match="Authorization") as caught:
        checks.check_headers(((b"Authorization", b"Bearer hunter2\n"),))
    assert "hunter2" not in str(caught.value)
