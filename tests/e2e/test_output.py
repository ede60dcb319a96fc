"""What endpoints print and log becomes records of their invocation."""

from __future__ import annotations

import pytest

from tests.e2e.harness import Executor

pytestmark = pytest.mark.e2e


def records(lab: Executor, kind: str) -> list[tuple[str, str, str]]:
    """Call the endpoint; its output as (level, source, message)."""
    answer = lab.get(f"/print/{kind}")
    assert answer.text == "printed"
    invocation_id = answer.headers["x-invocation-id"]
    lab.invocation(invocation_id)
    return [
        (event["level"], event["source"], event["message"])
        for event in lab.events("endpoint.output")
        if event["invocation_id"] == invocation_id
    ]


def test_print(lab: Executor) -> None:
    """Lines of both streams, the last one without its newline."""
    found = records(lab, "print")
    assert ("info", "stdout", "to stdout") in found
    assert ("warning", "stderr", "to stderr") in found
    assert ("info", "stdout", "no newline") in found


def test_descriptors(lab: Executor) -> None:
    """Writing to, and closing, the standard descriptors does not disturb the protocol."""
    assert [message for _, _, message in records(lab, "descriptors")] == ["raw one", "raw two"]


def test_c_code(lab: Executor) -> None:
    """What a C library prints is a line like any other."""
    assert ("info", "stdout", "from C") in records(lab, "c")


def test_logging(lab: Executor) -> None:
    """Python's logging keeps its level and logger."""
    assert ("warning", "my.logger", "logged 1") in records(lab, "logging")


def test_sdk_lines(lab: Executor) -> None:
    """The SDK's JSON lines are read as what they say."""
    assert ("error", "sdk", "sdk line") in records(lab, "sdk")
