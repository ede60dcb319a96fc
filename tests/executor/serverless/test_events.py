"""The lines of a function, compared with what the daemon reads, and with what the SDK writes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from executor.serverless.events import EventWriter


def read(line: bytes) -> dict[str, object]:
    """Read a line, and the empty one behind it."""
    assert line.endswith(b"\n\n")
    assert line.count(b"\n") == 2
    document: dict[str, object] = json.loads(line)
    return document


def test_they_are_what_the_sdk_writes() -> None:
    """Byte by byte: dify_plugin 0.10.2 with `INSTALL_METHOD=serverless`."""
    events = EventWriter("s-1")
    stream = b'{"event":"session","session_id":"s-1","data":{"type":"stream","data":'
    assert events.head(200, [(b"Content-Type", b"text/html")]) == (
        stream + b'{"status":200,"headers":{"Content-Type":"text/html"}}}}\n\n'
    )
    assert events.body(b"meow") == stream + b'{"result":"6d656f77"}}}\n\n'
    assert events.end() == b'{"event":"session","session_id":"s-1","data":{"type":"end","data":{}}}\n\n'
    assert events.error("E", "m") == (
        b'{"event":"session","session_id":"s-1","data":{"type":"error","data":'
        b'{"error_type":"E","message":"m","args":{}}}}\n\n'
    )


def test_of_a_repeated_header_the_last_one_counts() -> None:
    """Whatever its case."""
    line = EventWriter("s").head(200, [(b"X-A", b"1"), (b"B", b"2"), (b"x-a", b"3")])
    assert json.loads(line)["data"]["data"]["headers"] == {"x-a": "3", "B": "2"}


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=50),
    st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=5),
    st.binary(max_size=100),
    st.text(max_size=50),
)
def test_whatever_is_in_them_they_are_lines_of_json(
    session: str, headers: list[tuple[bytes, bytes]], body: bytes, text: str
) -> None:
    """No value ends a line, or is seen as something else."""
    events = EventWriter(session)
    for line in (events.head(200, headers), events.body(body), events.error(text, text), events.end()):
        assert read(line)["session_id"] == session
        assert line.isascii()
    found = json.loads(events.body(body))["data"]["data"]["result"]
    assert bytes.fromhex(found) == body
