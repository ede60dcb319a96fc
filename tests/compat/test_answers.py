"""How answers of the two sides are compared: whatever a client could notice is told, what is by design is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.compat.answers import Answer, Call, differences
from tests.compat.report import BEGIN, END, Result, render, write
from tests.compat.samples import read_samples

ANSWER = Answer(
    status=200,
    headers={"content-type": "text/plain", "date": "now"},
    body=b'{"id": "0192f0c1-0000-7000-8000-000000000001", "created": 1700000000}',
    times=[0.1],
    calls=[Call("llm", {"model": "m", "model_type": "llm", "user": None})],
)


def test_the_same() -> None:
    """Identifiers, times, headers of the connection, and fields without a value do not count."""
    ours = replace(
        ANSWER,
        headers={"content-type": "text/plain", "date": "later", "x-invocation-id": "1"},
        body=b'{"id": "ffffffff-0000-7000-8000-00000000000a", "created": 1800000000}',
        calls=[Call("llm", {"model": "m"})],
    )
    assert list(differences(ANSWER, ours)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"status": 201}, "status 200, here 201"),
        ({"headers": {"content-type": "text/html"}}, "header content-type"),
        ({"body": b"other"}, "body"),
        ({"calls": []}, "calls"),
        ({"calls": [Call("llm", {"model": "other"})]}, "calls"),
        ({"problem": "it is gone"}, "it is gone"),
    ],
)
def test_what_differs_is_told(change: dict[str, object], told: str) -> None:
    """One difference, one sentence."""
    (found,) = differences(ANSWER, replace(ANSWER, **change))  # type: ignore[arg-type]
    assert told in found


def test_a_stream_that_comes_at_once() -> None:
    """A body that the SDK sends over some time has to come over some time."""
    stream = replace(ANSWER, times=[0.1, 0.6, 1.1])
    (found,) = differences(stream, replace(ANSWER, times=[1.1, 1.1]))
    assert "streamed over 1.00 s" in found
    assert list(differences(stream, replace(ANSWER, times=[0.1, 0.9]))) == []


def test_exceptions_are_ours_to_tell() -> None:
    """The SDK shows clients what was raised, and we do not."""
    theirs = replace(ANSWER, status=500, body=b"Internal Server Error: secret")
    assert list(differences(theirs, replace(ANSWER, status=500, body=b"{}"))) == []


def test_samples_are_whole() -> None:
    """Each has a commit, and asks something."""
    samples = read_samples()
    assert len({sample.name for sample in samples}) == len(samples) > 15
    for sample in samples:
        assert len(sample.commit) == 40
        assert sample.requests


def test_the_table(tmp_path: Path) -> None:
    """It is put between its marks; a page without them is left alone."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    sample = read_samples()[0]
    results = [Result(sample, sdk="0.9.0", python="3.12.1", asked=2, same=1, notes=["a | b"])]
    write(results, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "0 of 1 plugins" in text
    assert "a \\| b" in render(results)
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        write(results, page)
