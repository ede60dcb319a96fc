"""Limits that another limit keeps from being reached are refused where both are given; what is inherited follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.executor.config.support import load, problems_of


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("limits: {file_size: 129 MiB}", "limits.file_size", "larger than scratch_size, which is 128 MiB"),
        ("limits: {memory: 64 MiB, file_size: 65 MiB}", "limits.file_size", "larger than scratch_size, which is 64"),
        ("limits: {scratch_size: 513 MiB}", "limits.scratch_size", "larger than memory, which is 512 MiB"),
        (
            "limits: {memory: 2 GiB}\nplugins: [{path: a, limits: {memory: 1 GiB, scratch_size: 2 GiB}}]",
            "plugins[0].limits.scratch_size",
            "larger than memory, which is 1 GiB",
        ),
        (
            "plugins: [{path: a, limits: {scratch_size: 200 MiB}}]\nhooks: {a: {limits: {file_size: 201 MiB}}}",
            "hooks.a.limits.file_size",
            "larger than scratch_size, which is 200 MiB",
        ),
        ("limits: {cpu_time: 11m}", "limits.cpu_time", "wall_time, which is 10m, times cpu_share, which is 1, is 600s"),
        ("limits: {cpu_time: 10s, cpu_share: 0.5, wall_time: 19s}", "limits.cpu_time", "is 9.5s"),
        (
            "limits: {wall_time: 30s}\nhooks: {a: {limits: {cpu_time: 31s}}}",
            "hooks.a.limits.cpu_time",
            "it could never be reached",
        ),
    ],
)
def test_what_can_never_be_reached_is_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    """Once, with the name, the place and the reason."""
    (problem,) = problems_of(tmp_path, text)
    assert (problem.name, problem.severity) == (name, "error")
    assert message in problem.message
    assert problem.place.line is not None


def test_one_mistake_is_told_once(tmp_path: Path) -> None:
    """A file as large as its folder is fine, even if the folder itself is too large."""
    (problem,) = problems_of(tmp_path, "limits: {memory: 64 MiB, scratch_size: 100 MiB, file_size: 100 MiB}")
    assert problem.name == "limits.scratch_size"


@pytest.mark.parametrize(
    "text",
    [
        "limits: {memory: 32 MiB}",
        "limits: {scratch_size: 64 KiB}",
        "limits: {scratch_size: 448 MiB, file_size: 448 MiB}",
        "limits: {file_size: 100 MiB}\nhooks: {a: {limits: {scratch_size: 1 MiB}}}",
        "limits: {scratch_size: 400 MiB}\nhooks: {a: {limits: {memory: 64 MiB}}}",
        "limits: {wall_time: 1s}",
        "limits: {cpu_share: 0.05, wall_time: 1s}",
        "limits: {cpu_time: 10m, cpu_share: 0.1, wall_time: 100m}",
        "limits: {cpu_time: 3m, cpu_share: 0.3, wall_time: 10m}",
        "limits: {cpu_time: 10m}\nhooks: {a: {limits: {wall_time: 1m}}}",
        "plugins: [{path: a, limits: {memory: 2 GiB}}, b]\nhooks: {a: {limits: {scratch_size: 1 GiB}}}",
        "plugins: [{path: a, limits: {cpu_share: 4}}, b]\nhooks: {a: {limits: {cpu_time: 40m}}}",
    ],
)
def test_what_can_be_reached_is_accepted_without_a_word(tmp_path: Path, text: str) -> None:
    """Also what a more specific level makes unreachable, and what only some plugins allow."""
    assert load(tmp_path, text).notes == ()


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("limits: {scratch_size: 449 MiB}", "limits.scratch_size", "leaves less than 64 MiB"),
        ("limits: {memory: 128 MiB, scratch_size: 128 MiB}", "limits.scratch_size", "limit.memory"),
        ("limits: {scratch_files: 500000}", "limits.scratch_files", "takes 500000 KiB of memory"),
    ],
)
def test_what_is_doubtful_gets_a_note(tmp_path: Path, text: str, name: str, message: str) -> None:
    """And is accepted."""
    (note,) = load(tmp_path, text).notes
    assert (note.severity, note.name) == ("note", name)
    assert message in note.message
    assert note.place.line is not None
