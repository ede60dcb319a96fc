"""Servers that answer reverse calls: where they are, what they are asked with, how much of them is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.document import parse_document
from executor.config.load import parse_config
from executor.config.reference import render_reference, render_schema
from executor.config.show import show_config
from tests.executor.config.support import load, problems_of
from tests.stand_ins.certificates import make_certificate

DIFY = "reverse: {target: dify, dify: {url: %s, api_key: secret}}"


def test_bounds_and_times_are_those_of_difys_daemon(tmp_path: Path) -> None:
    """Five seconds to connect and to write, four minutes to wait, parts of 30 MiB."""
    dify = load(tmp_path, DIFY % "http://api:5001/").reverse.dify
    assert dify is not None
    assert dify.url == "http://api:5001"
    assert (dify.connect_time, dify.write_time, dify.read_time, dify.part_size) == (5, 5, 240, 30 * 1024**2)
    assert (dify.files_url, dify.ca_file, dify.proxy, dify.end_users) == ((), None, None, True)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://dify.example.org",
        "//dify.example.org",
        "dify.example.org",
        "https://user:word@dify.example.org",
        "https://dify.example.org?a=b",
        "https://dify.example.org#a",
        "https://dify.example.org?",
        "https://",
        "https://dify.example.org:0",
        "https://dify.example.org:99999",
        "https://dify example.org",
        "https://dify.example.org\\\\@other",
        "https://dïfy.example.org",
    ],
)
def test_urls_that_could_mean_something_else_are_refused(tmp_path: Path, url: str) -> None:
    """With what is expected."""
    (problem,) = problems_of(tmp_path, DIFY % f'"{url}"')
    assert problem.name == "reverse.dify.url"
    assert problem.expected.startswith("a URL such as https://dify.example.org")


def test_keys_are_never_shown(tmp_path: Path) -> None:
    """Not in the effective configuration, and not in what is wrong with one."""
    config = load(tmp_path, DIFY % "https://dify.example.org")
    assert "secret" not in show_config(config).replace("secrets", "").replace("Secrets", "").partition("reverse:")[2]
    (problem,) = problems_of(tmp_path, "reverse: {dify: {url: 'https://dify.example.org', api_key: [secret-1]}}")
    assert "secret-1" not in f"{problem}"


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://dify.example.org", False),
        ("http://dify.example.org", True),
        ("http://93.184.216.34:5001", True),
        ("http://api:5001", False),
        ("http://127.0.0.1:5001", False),
        ("http://10.0.0.7", False),
        ("http://[::1]", False),
        ("http://dify.svc", False),
    ],
)
def test_keys_in_plain_text_are_told(tmp_path: Path, url: str, warned: bool) -> None:  # noqa: FBT001
    """Where the way there is not within a machine or a private network."""
    notes = [note for note in load(tmp_path, DIFY % f'"{url}"').notes if note.name == "reverse.dify.url"]
    assert [note.severity for note in notes] == (["warning"] if warned else [])


@pytest.mark.parametrize(("tenant", "warned"), [("default", True), ("6f2b0c1e-5d7a-4e0b-9a43-2f1c8d9e7b60", False)])
def test_a_workspace_that_dify_cannot_know_is_told(tmp_path: Path, tenant: str, warned: bool) -> None:  # noqa: FBT001
    """It would refuse every call."""
    text = f"reverse: {{target: dify, tenant: {tenant}, dify: {{url: 'https://dify', api_key: secret}}}}"
    assert [note.name for note in load(tmp_path, text).notes] == (["reverse.tenant"] if warned else [])


def test_certificates_are_looked_at(tmp_path: Path) -> None:
    """A file that has none is found when the configuration is read, not when the first call is made."""
    make_certificate(tmp_path)
    load(tmp_path, "reverse: {daemon: {url: 'https://daemon', ca_file: 127.0.0.1.pem}}")
    Path(tmp_path, "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        (problem,) = problems_of(tmp_path, f"reverse: {{daemon: {{url: 'https://daemon', ca_file: {name}}}}}")
        assert (problem.name, problem.expected) == ("reverse.daemon.ca_file", "a file with certificates in PEM")
        assert f"{tmp_path}/{name}" in problem.message


def test_a_server_of_models_is_configured(tmp_path: Path) -> None:
    """Names of models and apps; what is shown can be read again, and means the same."""
    text = """
    reverse:
      target: openai
      openai:
        url: http://127.0.0.1:11434/v1
        models: {gpt-4o: llama3, "*": small}
        summary_model: small
        apps:
          chat: {model: llama3, instructions: "Be {{mood}}."}
    """
    config = load(tmp_path, text)
    openai = config.reverse.openai
    assert openai is not None
    assert (openai.api_key, openai.apps["chat"].instructions) == (None, "Be {{mood}}.")
    assert parse_config(parse_document(show_config(config).encode())).reverse == config.reverse
    problems = problems_of(tmp_path, "reverse: {openai: {apps: {chat: {modell: a}}}}")
    assert any("did you mean model?" in problem.message for problem in problems)


def test_a_target_needs_its_section(tmp_path: Path) -> None:
    """Each of them."""
    for target in ("dify", "daemon", "openai"):
        (problem,) = problems_of(tmp_path, f"reverse: {{target: {target}}}")
        assert problem.message == f"the target {target} needs reverse.{target}"


def test_the_documents_know_the_sections() -> None:
    """The page of settings, and the schema for editors."""
    page = render_reference()
    for name in ("reverse.dify.api_key", "reverse.daemon.files_url", "reverse.openai.models"):
        assert f"| `{name}` |" in page
    assert "| `reverse.openai.apps.<app id>.model` | a text that is not empty | required |" in page
    assert "OpenAiSettings" in render_schema()["$defs"]
