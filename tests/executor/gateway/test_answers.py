"""Answers of our own making, and invocation ids."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from executor.gateway.ids import new_invocation_id
from executor.http.answers import problem_for
from executor.outcome import Outcome


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_problem_document(outcome: Outcome) -> None:
    """Its status, code and title; `Retry-After` where trying again helps."""
    answer = problem_for(outcome, detail="d", invocation_id="i", traceback="")
    document = json.loads(answer.body)
    assert document == {
        "type": f"urn:endpoint-executor:problem:{outcome.code}",
        "title": outcome.title,
        "status": outcome.status,
        "code": outcome.code,
        "detail": "d",
        "invocation_id": "i",
    }
    assert ((b"retry-after", b"1") in answer.headers) == outcome.retryable


def test_outcome_codes_are_distinct() -> None:
    """Metrics and clients tell outcomes apart by their codes."""
    assert len({outcome.code for outcome in Outcome}) == len(Outcome)


def test_ids_are_uuids_of_version_7() -> None:
    """They sort by time and do not repeat."""
    before = time.time_ns() // 1_000_000
    ids = [new_invocation_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122
        assert before <= parsed.int >> 80 <= after
