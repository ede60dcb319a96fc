"""What a worker may ask: permissions in the daemon's words, and requests that any target can rely on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.catalog.permissions import MODEL_KINDS, NO_PERMISSIONS, Permissions
from executor.reverse.call import CALL_KINDS, CallFailedError
from executor.reverse.requests import RULES, check_request, refuse_kind
from tests.protocol import strategies

DENIED = "permission denied, you need to enable {} access in plugin manifest"
WORDS = {
    **{kind: kind for kind in ("llm", "rerank", "tts", "speech2text", "moderation", "tool", "app", "storage")},
    "llm_structured_output": "llm",
    "system_summary": "llm",
    "fetch_app": "app",
    "multimodal_rerank": "rerank",
    "text_embedding": "text-embedding",
    "multimodal_embedding": "text-embedding",
    "node_parameter_extractor": "node",
    "node_question_classifier": "node",
}
"""What Dify's daemon calls the permission that a kind needs."""


def test_every_kind_has_a_rule() -> None:
    """And nothing else has."""
    assert tuple(sorted(RULES)) == tuple(sorted(CALL_KINDS))


@pytest.mark.parametrize("kind", sorted(RULES))
def test_permissions(kind: str) -> None:
    """Each kind needs its own; without it the text is that of the daemon."""
    everything = Permissions(frozenset({"tool", "node", "app", "storage", *MODEL_KINDS}), 1024)
    assert refuse_kind(kind, everything) == ""
    if kind == "upload_file":
        assert refuse_kind(kind, NO_PERMISSIONS) == ""
        return
    assert refuse_kind(kind, NO_PERMISSIONS) == DENIED.format(WORDS[kind])
    needed = RULES[kind].permission
    assert refuse_kind(kind, Permissions(everything.allowed - {needed}, 0)) == DENIED.format(WORDS[kind])
    assert refuse_kind(kind, Permissions(frozenset({needed}), 0)) == ""


def test_unknown_kinds() -> None:
    """Those that Dify's own services use among themselves, for one."""
    assert refuse_kind("encrypt", NO_PERMISSIONS) == "unsupported invoke type: encrypt"


GOOD: dict[str, dict[str, object]] = {
    "app": {"app_id": "a", "inputs": {}, "query": None, "response_mode": "streaming"},
    "llm": {"provider": "p", "model": "m", "prompt_messages": [], "tools": None, "stream": True, "new_field": 1},
    "speech2text": {"provider": "p", "model": "m", "file": "00ff"},
    "upload_file": {"filename": "f", "mimetype": "m", "content": b"\0"},
    "storage": {"opt": "set", "key": "k", "value": b""},
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_requests(kind: str) -> None:
    """Fields that nobody knows stay, contents are bytes."""
    checked = check_request(kind, GOOD[kind])
    assert set(checked) == set(GOOD[kind])
    if kind == "speech2text":
        assert checked["file"] == b"\0\xff"


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("app", {"app_id": None}, "app: `app_id` is missing; it is a text"),
        ("app", {"app_id": 7}, "app: `app_id` is a text, not int"),
        ("app", {"app_id": "a" * 5000}, "app: `app_id` has 5000 characters, at most 4096"),
        ("app", {"inputs": []}, "app: `inputs` is a map, not list"),
        ("app", {"query": ["x"]}, "app: `query` is a text, not list"),
        ("llm", {"prompt_messages": "hi"}, "llm: `prompt_messages` is a list, not str"),
        ("llm", {"stream": 1}, "llm: `stream` is true or false, not int"),
        ("speech2text", {"file": "xy"}, "speech2text: `file` is a text, and not hexadecimal"),
        ("speech2text", {"file": None}, "speech2text: `file` is missing"),
        ("upload_file", {"content": 1}, "upload_file: `content` is missing"),
        ("storage", {"key": b"k"}, "storage: `key` is a text, not bytes"),
    ],
)
def test_bad_requests(kind: str, change: dict[str, object], text: str) -> None:
    """The text names the field and what it should be."""
    with pytest.raises(CallFailedError) as caught:
        check_request(kind, {**GOOD[kind], **change})
    assert caught.value.message.startswith(text)


@given(st.sampled_from(sorted(RULES)), strategies.plain)
def test_any_plain_data(kind: str, value: object) -> None:
    """Is a request or is refused; nothing else comes of it."""
    try:
        checked = check_request(kind, value)
    except CallFailedError:
        return
    assert set(RULES[kind].required) <= set(checked)
