"""Combinations that cannot work are refused with the reason; those that are odd get a note."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.model import HttpLimits
from executor.config.overrides import Overrides
from protocol.limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_PART
from tests.executor.config.support import load, problems_of


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("listen: {port: 65535}", "listen.port", "give admin.port"),
        ("listen: {port: 80}\nadmin: {port: 80}", "admin.port", "both listeners would use port 80"),
        ("listen: {port: 80, host: 0.0.0.0}\nadmin: {port: 80}", "admin.port", "both listeners"),
        ('listen: {port: 80}\nadmin: {port: 80, host: "::"}', "admin.port", "both listeners"),
        ("limits: {first_byte_time: 11m}", "limits.first_byte_time", "longer than wall_time, which is 10m"),
        ("limits: {wall_time: 1m, idle_time: 61s}", "limits.idle_time", "longer than wall_time, which is 1m"),
        ("plugins: [{path: a, limits: {idle_time: 1h}}]", "plugins[0].limits.idle_time", "longer than wall_time"),
        (
            "plugins: [{path: a, limits: {wall_time: 20m}}]\nhooks: {a: {limits: {first_byte_time: 30m}}}",
            "hooks.a.limits.first_byte_time",
            "longer than wall_time, which is 20m",
        ),
        ('cors: {origins: ["*"], credentials: true}', "cors.credentials", "name the origins"),
        ("store: {url: 'mysql://u:hush@h/d'}", "store.url", "which begins with postgresql://"),
        ("plugins: [a, b, ./a]", "plugins[2]", "is given twice"),
        ("packages: {require_signature: true}", "packages.public_keys", "signatures are required, and no key is named"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    """With the name, the place and the reason."""
    problems = problems_of(tmp_path, text)
    assert any(problem.name == name and message in problem.message for problem in problems)
    assert all(problem.severity == "error" and problem.place.line for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "listen: {port: 65535}\nadmin: {port: 0}",
        "listen: {port: 0}\nadmin: {port: 0}",
        "listen: {port: 80, host: 127.0.0.2}\nadmin: {port: 80, host: 127.0.0.1}",
        "limits: {wall_time: 1s}",
        "limits: {first_byte_time: 10m}",
        "plugins: [{path: a, limits: {wall_time: 1h}}]\nhooks: {a: {limits: {first_byte_time: 30m}}}",
        "limits: {idle_time: 5m}\nhooks: {a: {limits: {wall_time: 1m}}}",
        'cors: {origins: ["*"]}',
        'cors: {origins: ["https://a.example:8443"], credentials: true}',
    ],
)
def test_what_can_work_is_accepted_without_a_word(tmp_path: Path, text: str) -> None:
    """Also where one value makes others shorter; those follow."""
    assert load(tmp_path, text).notes == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("admin: {host: 0.0.0.0}", "admin.host"),
        ("admin: {host: metrics.example}", "admin.host"),
        ("limits: {concurrency: 65}", "limits.concurrency"),
        ("plugins: [{path: a, limits: {queue_length: 2000}}]", "plugins[0].limits.queue_length"),
        ("admission: {concurrency: 2}\nhooks: {a: {limits: {concurrency: 3}}}", "hooks.a.limits.concurrency"),
    ],
)
def test_what_is_odd_gets_a_note(tmp_path: Path, text: str, name: str) -> None:
    """And is accepted."""
    (note,) = load(tmp_path, text).notes
    assert (note.severity, note.name) == ("note", name)
    assert note.place.line is not None


def test_a_plugin_of_the_file_may_not_be_named_again(tmp_path: Path) -> None:
    """Two copies of one plugin would have the same name."""
    (problem,) = problems_of(tmp_path, "plugins: [./a]", Overrides(plugins=(tmp_path / "a",)))
    assert "given twice" in problem.message


def test_the_largest_head_fits_into_the_worker_protocol() -> None:
    """With room for what the executor adds, and for bytes that become three when they are decoded."""
    high = {name: field.metadata[0].high for name, field in HttpLimits.model_fields.items()}
    assert high["header_count"] <= MAX_HEADERS - 50
    assert high["header_size"] + 3 * high["url_size"] <= MAX_HEADER_BYTES
    assert 3 * high["url_size"] <= MAX_URL_PART


def test_a_shared_store_needs_a_shared_key(tmp_path: Path) -> None:
    """Its absence is worth a note: with one executor it does no harm."""
    url = "store: {url: {from_env: DATABASE}}"
    (note,) = load(tmp_path, url).notes
    assert (note.name, note.severity) == ("secrets.key", "note")
    assert "give all of them the same secrets.key" in note.message
    assert load(tmp_path, f"{url}\nsecrets: {{key: {{from_env: KEY}}}}").notes == ()


@pytest.mark.parametrize(("key", "size"), [("hush", "4 characters"), ("x", "1 character"), ("a" * 15, "15 characters")])
def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path, key: str, size: str) -> None:
    """With how long it is, and how to make a good one; and without the key."""
    (problem,) = problems_of(tmp_path, f"serverless: {{key: {key}}}")
    assert (problem.name, problem.found, problem.expected) == ("serverless.key", size, "at least 16 characters")
    assert f"the key has {size}, and whoever guesses it installs plugins" in problem.message
    assert "`openssl rand -hex 32`" in problem.message
    assert len(key) == 1 or key not in str(problem)


def test_a_long_key_is_taken(tmp_path: Path) -> None:
    """So are keys that are elsewhere, which are read when the service starts."""
    assert load(tmp_path, f"serverless: {{key: {'a' * 16}}}").notes == ()
    assert load(tmp_path, "serverless: {key: {from_env: NOT_YET}}").notes == ()
