"""What plugins say that they depend on: which files are read, what uv is given, what is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.environments.choice import wants_own
from executor.environments.errors import BuildError
from executor.environments.requirements import Requirements, project_name, read_requirements


def read(root: Path) -> Requirements:
    """Read what there is."""
    found = read_requirements(root)
    assert found is not None
    return found


def test_pyproject_comes_first(tmp_path: Path) -> None:
    """With the lock if there is one; without either there is nothing."""
    assert read_requirements(tmp_path) is None
    (tmp_path / "requirements.txt").write_text("dify_plugin\n")
    assert read(tmp_path).kind == "requirements"
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nrequires-python = ">=3.12"\n'
        'dependencies = ["Dify_Plugin>=0.9", "slack.sdk[all]; os_name"]'
    )
    found = read(tmp_path)
    assert (found.kind, found.python, found.names) == ("pyproject", ">=3.12", frozenset({"dify-plugin", "slack-sdk"}))
    (tmp_path / "uv.lock").write_text("version = 1\n")
    assert read(tmp_path).kind == "lock"
    assert set(read(tmp_path).files) == {"pyproject.toml", "uv.lock"}


@pytest.mark.parametrize(
    "line",
    [
        "-i https://x.invalid",
        "--index_url=https://x",
        "--extra_index_url https://x",
        "-f ./w",
        "--no-index",
        "--trusted-host x",
    ],
)
def test_places_are_left_out(tmp_path: Path, line: str) -> None:
    """Where packages come from is not for a plugin to say; the note names the file and the option."""
    (tmp_path / "requirements.txt").write_text(f"{line}\ndify_plugin\n")
    found = read(tmp_path)
    assert found.files == {"requirements.txt": b"dify_plugin\n"}
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"requirements.txt says {line.partition('=')[0].split()[0]}, which is left out")


def test_further_files_are_followed(tmp_path: Path) -> None:
    """Within the plugin, each once; constraints ask for nothing."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text("-r sub/more.txt\n-csub/limits.txt\ndify_plugin ~= 0.2 \\\n  # why\n")
    (tmp_path / "sub" / "more.txt").write_text("-r ../requirements.txt\nduck==1\n-i https://x\n")
    (tmp_path / "sub" / "limits.txt").write_text("goose<3\n")
    found = read(tmp_path)
    assert found.names == {"dify-plugin", "duck"}
    assert found.files["sub/more.txt"] == b"-r ../requirements.txt\nduck==1\n"
    assert not found.needs_folder


@pytest.mark.parametrize("line", ["-r ../outside.txt", "-r /etc/passwd", "-r missing.txt", "-r sub", "-r link.txt"])
def test_files_outside_are_refused(tmp_path: Path, line: str) -> None:
    """Nor is a link followed out of the plugin, nor anything read but files."""
    root = tmp_path / "plugin"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("secret\n")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "requirements.txt").write_text(f"{line}\n")
    with pytest.raises(BuildError):
        read(root)


def test_a_pipe_blocks_nobody(tmp_path: Path) -> None:
    """It is refused unopened."""
    os.mkfifo(tmp_path / "requirements.txt")
    with pytest.raises(BuildError, match="named pipe"):
        read(tmp_path)


@pytest.mark.parametrize(
    "line", ["./wheels/duck-1.0-py3-none-any.whl", "duck @ file:wheels/duck.whl", "-e ./duck", "wheels/duck-1.0.tar.gz"]
)
def test_paths_need_the_folder(tmp_path: Path, line: str) -> None:
    """And what is to be editable is installed all the same: the copy that it would refer to goes."""
    (tmp_path / "requirements.txt").write_text(f"{line}\n")
    found = read(tmp_path)
    assert found.needs_folder
    assert not found.is_only_sdk
    assert b"-e" not in found.files["requirements.txt"]


def test_sources_need_the_folder(tmp_path: Path) -> None:
    """Those of `tool.uv.sources` that are paths."""
    text = '[project]\nname = "x"\ndependencies = ["duck"]\n[tool.uv.sources]\nduck = {path = "./duck"}\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert read(tmp_path).needs_folder


@pytest.mark.parametrize("content", [b"not toml", b"", b"[tool]\n", b"\xff\xfe", b"project = 5"])
def test_a_pyproject_that_is_none(tmp_path: Path, content: bytes) -> None:
    """The message names the file."""
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(BuildError, match=r"pyproject\.toml"):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    """Files that Windows has written have a mark, as pip expects."""
    (tmp_path / "requirements.txt").write_text("duck\r\n", encoding=encoding)
    assert read(tmp_path).files["requirements.txt"] == b"duck\n"


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("dify_plugin>=0.9\n", False),
        ("# nothing\n\n", False),
        ("dify-plugin\nflask\n", True),
        ("https://x/y.whl\n", True),
    ],
)
def test_who_gets_an_environment(tmp_path: Path, text: str, own: bool) -> None:  # noqa: FBT001 - a case
    """Who names more than the SDK; what is configured for the plugin, and then for all, wins."""
    (tmp_path / "requirements.txt").write_text(text)
    assert wants_own(tmp_path, None, None) is own
    assert not wants_own(tmp_path, None, "shared")
    assert wants_own(tmp_path, "own", "shared")


def test_no_files_no_environment(tmp_path: Path) -> None:
    """Unless it is asked for; then the build says what is missing."""
    assert not wants_own(tmp_path, None, None)
    assert wants_own(tmp_path, "own", None)


@given(st.text(max_size=300))
def test_any_requirements(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """They are read, or refused, and the digest tells them apart from none."""
    root = tmp_path_factory.mktemp("plugin")
    (root / "requirements.txt").write_text(text, errors="surrogateescape")
    try:
        found = read(root)
    except BuildError:
        return
    before, after = hashlib.sha256(), hashlib.sha256()
    found.update(after)
    assert before.digest() != after.digest()


def test_names_are_normalised() -> None:
    """As the packaging specifications say."""
    assert project_name("Dify__Plugin.x") == "dify-plugin-x"
