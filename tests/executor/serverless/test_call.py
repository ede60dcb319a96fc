"""What a daemon sends to a function: read, or refused with the name of what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.serverless.call import read_call
from executor.serverless.errors import BadCallError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["event", "session_id", "endpoint_id", "data", "action", "raw_http_request", "settings", "user_id"]
)


def call(**changes: Any) -> dict[str, Any]:
    """A call as it should be, with changes of its data."""
    data = {"user_id": "", "type": "endpoint", "action": "invoke_endpoint", "raw_http_request": "4745", "settings": {}}
    ids = {"conversation_id": None, "message_id": None, "app_id": None, "endpoint_id": "e", "context": None}
    return {"session_id": "s", **ids, "event": "request", "data": {**data, **changes}}


def test_a_call() -> None:
    """Its session, its action, its request and its settings; no settings are no settings."""
    found = read_call(json.dumps(call(settings={"a": [1]})).encode())
    assert (found.session_id, found.action, found.endpoint_id) == ("s", "invoke_endpoint", "e")
    assert (found.raw, found.settings) == (b"GE", {"a": [1]})
    assert read_call(json.dumps(call(settings=None)).encode()).settings == {}


def test_other_actions_need_no_request() -> None:
    """They are refused by name."""
    found = read_call(json.dumps(call(action="invoke_tool", raw_http_request=None)).encode())
    assert (found.action, found.raw) == ("invoke_tool", b"")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "the call: expected a map, found list"),
        ({**call(), "event": "backwards_response"}, "event: expected request, found 'backwards_response'"),
        ({**call(), "session_id": ""}, "session_id"),
        ({**call(), "session_id": "a\r\nb"}, "session_id"),
        ({**call(), "session_id": 7}, "session_id"),
        ({**call(), "data": None}, "data: expected a map, found None"),
        (call(action=None), "data.action"),
        (call(raw_http_request=None), "raw_http_request"),
        (call(raw_http_request="474"), "raw_http_request"),
        (call(raw_http_request="4 74"), "raw_http_request"),
        (call(raw_http_request="zz"), "raw_http_request"),
        (call(settings=[1]), "data.settings"),
    ],
)
def test_what_is_refused(document: Any, text: str) -> None:
    """With what is wrong, and nothing of a secret."""
    with pytest.raises(BadCallError, match=text):
        read_call(json.dumps(document).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 10_000, b'{"a":' * 50_000])
def test_what_is_no_json(body: bytes) -> None:
    """However deep."""
    with pytest.raises(BadCallError):
        read_call(body)


@given(st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON)))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    """With no other exception."""
    for one in (document, {**call(), **document}, {**call(), "data": {**call()["data"], **document}}):
        try:
            found = read_call(json.dumps(one).encode())
        except BadCallError:
            continue
        assert found.session_id


def test_nothing_secret_is_shown() -> None:
    """By whoever logs a call."""
    found = read_call(json.dumps({**call(settings={"key": "hush"}), "session_id": "hidden"}).encode())
    assert "hush" not in repr(found)
    assert "hidden" not in repr(found)
