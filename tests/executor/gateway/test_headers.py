"""Header rules, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.gateway.headers import InvalidHeaderError, request_headers, response_head
from executor.gateway.origin import Origin


def test_requests_lose_what_is_hop_by_hop_or_hidden() -> None:
    """And gain what is ours, once."""
    headers = [
        (b"host", b"lie"),
        (b"x-kept", b"1"),
        (b"x-kept", b"2"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"x-real-ip", b"1.1.1.1"),
        (b"under_score", b"x"),
        (b"dify-hook-id", b"lie"),
        (b"x-forwarded-proto", b"lie"),
        (b"x-forwarded-port", b"lie"),
    ]
    origin = Origin("https", "h:1", "h", 1, None, "")
    assert request_headers(headers, origin, hook_id="id", hook_url="http://h:1/e/id/") == [
        (b"host", b"h:1"),
        (b"x-kept", b"1"),
        (b"x-kept", b"2"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-port", b"1"),
        (b"dify-hook-id", b"id"),
        (b"dify-hook-url", b"http://h:1/e/id/"),
    ]


@pytest.mark.parametrize(
    ("status", "lengths", "expected"),
    [
        (200, [b"5"], 5),
        (200, [b" 5 "], 5),
        (200, [], None),
        (200, [b"5", b"5"], None),
        (200, [b"-5"], None),
        (200, [b"+5"], None),
        (200, [b"5_0"], None),
        (200, [b""], None),
        (200, [b"\xb2"], None),
        (200, [b"9" * 16], None),
        (204, [b"5"], None),
        (205, [b"5"], 0),
        (205, [], 0),
        (304, [b"5"], None),
    ],
)
def test_only_a_plain_length_is_believed(status: int, lengths: list[bytes], expected: int | None) -> None:
    """Everything else is left to chunks."""
    head = response_head(status, [(b"Content-Length", length) for length in lengths])
    assert head.content_length == expected
    assert len(head.headers) == (expected is not None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X", b"a\r\nSet-Cookie: b"),
        (b"X", b"a\nb"),
        (b"X", b"\0"),
        (b"X\r\nY", b""),
        (b"X Y", b""),
        (b"", b""),
        (b"X:", b""),
    ],
)
def test_header_injection_is_refused(name: bytes, value: bytes) -> None:
    """No header can end early or begin another."""
    with pytest.raises(InvalidHeaderError):
        response_head(200, [(name, value)])


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=4))
def test_whatever_passes_is_one_line(headers: list[tuple[bytes, bytes]]) -> None:
    """For any bytes."""
    try:
        head = response_head(200, headers)
    except InvalidHeaderError:
        return
    for name, value in head.headers:
        assert name
        assert not set(name) & set(b" \t\r\n\0:")
        assert not set(value) & set(b"\r\n\0")
