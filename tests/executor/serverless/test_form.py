"""The form that a daemon launches a plugin with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.serverless.errors import BadCallError
from executor.serverless.form import read_form

TYPE = "multipart/form-data; boundary=b0undary"
GOOD = (
    b'--b0undary\r\nContent-Disposition: form-data; name="context"; filename="a@b@0.0.1@c.difypkg"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\nPK\r\n\x00\r\n"
    b'--b0undary\r\nContent-Disposition: form-data; name="verified"\r\n\r\nfalse\r\n'
    b'--b0undary\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n'
    b'{"plugin_unique_identifier":"a/b:0.0.1@c"}\r\n--b0undary--\r\n'
)


def test_a_form_as_go_writes_it() -> None:
    """The package with its name, byte by byte, and what the daemon calls it."""
    form = read_form(TYPE, bytearray(GOOD))
    assert (form.filename, form.package) == ("a@b@0.0.1@c.difypkg", b"PK\r\n\x00")
    assert form.identifier == "a/b:0.0.1@c"


def test_metadata_may_be_left_out() -> None:
    """The documented form has none."""
    start, _, _ = GOOD.partition(b'--b0undary\r\nContent-Disposition: form-data; name="metadata"')
    assert read_form(TYPE, bytearray(start + b"--b0undary--\r\n")).identifier == ""


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", b"{}", "Content-Type"),
        ("multipart/form-data", GOOD, "boundary"),
        ("multipart/form-data; boundary=" + "b" * 71, GOOD, "boundary"),
        (TYPE, b"", "broken|not complete"),
        (TYPE, GOOD[:-20], "broken|not complete"),
        (TYPE, GOOD.replace(b"context", b"content"), "expected a file context"),
        (TYPE, GOOD.replace(b'name="verified"', b'name="metadata"'), "two parts of one name"),
        (TYPE, GOOD.replace(b'{"plugin', b'["plugin'), "metadata"),
        (TYPE, GOOD.replace(b'"a/b:0.0.1@c"', b"7"), "metadata"),
        (TYPE, GOOD.replace(b"\r\nfalse", b"\r\n" + b"x" * 70_000), "more than 65536 bytes"),
        (TYPE, GOOD.replace(b"\r\nfalse", b"\r\n\xff"), "broken"),
    ],
)
def test_what_is_refused(content_type: str, body: bytes, text: str) -> None:
    """With what is wrong."""
    with pytest.raises(BadCallError, match=text):
        read_form(content_type, bytearray(body))


@given(st.binary(max_size=200), st.integers(0, len(GOOD)), st.integers(0, len(GOOD)))
def test_garbage_is_refused_and_nothing_else(garbage: bytes, start: int, end: int) -> None:
    """Wherever it is."""
    for body in (garbage, GOOD[:start] + garbage + GOOD[end:]):
        try:
            form = read_form(TYPE, bytearray(body))
        except BadCallError:
            continue
        assert isinstance(form.package, bytes)
