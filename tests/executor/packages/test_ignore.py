"""What patterns leave out."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.packages.ignore import IgnoreRules, parse_rules


def kept(text: str, *paths: str) -> list[str]:
    """The paths that are not left out; those that end with a slash are folders."""
    rules = parse_rules(text)
    return [path for path in paths if not leaves_out(rules, path)]


def leaves_out(rules: IgnoreRules, path: str) -> bool:
    """Ask about a path and the folders on its way, as whoever walks through folders does."""
    parts = path.rstrip("/").split("/")
    return any(
        rules.leaves_out(parts[:end], folder=end < len(parts) or path.endswith("/")) for end in range(1, len(parts) + 1)
    )


def test_patterns_leave_out() -> None:
    """Names anywhere or from the top, folders alone, stars, classes, escapes, comments; the last that fits decides."""
    assert kept("*.log", "a.log", "b/c.log", "a.log.txt") == ["a.log.txt"]
    assert kept("/a", "a", "b/a") == ["b/a"]
    assert kept("b/a", "b/a", "c/b/a") == ["c/b/a"]
    assert kept("tests/", "tests/", "tests/x.py", "tests", "a/tests/x") == ["tests"]
    assert kept("**/x", "x", "a/x", "a/b/x") == []
    assert kept("a/**", "a/", "a/x", "a/b/c", "b") == ["a/", "b"]
    assert kept("a/**/z", "a/z", "a/b/z", "a/b/c/z", "z") == ["z"]
    assert kept("[a-c]?.py", "a1.py", "d1.py", "a.py") == ["d1.py", "a.py"]
    assert kept("[^a].py", "a.py", "b.py") == ["a.py"]
    assert kept("\\!x\n\\#y\n# comment\n\n   \n", "!x", "#y", "comment") == ["comment"]
    assert kept("*.md\n!README.md\n", "a.md", "README.md") == ["README.md"]
    assert kept("docs/\n!docs/a", "docs/a") == []
    assert kept("/", "a", "b/") == ["a", "b/"]


def test_some_are_always_left_out() -> None:
    """Whatever the patterns say."""
    paths = (".git/config", "a/__pycache__/x.pyc", ".env", ".venv/bin/python", "old.difypkg", ".gitignore", "env")
    assert kept("!.env\n!.git/", *paths) == [".gitignore", "env"]


GIT = shutil.which("git") or ""


@pytest.mark.skipif(not GIT, reason="asks git")
@given(
    patterns=st.lists(
        st.text(st.sampled_from("ab/*?!\\"), min_size=1, max_size=6).filter(
            lambda text: not text.endswith("\\") and "***" not in text and "//" not in text
        ),
        max_size=3,
    ),
    path=st.lists(st.text(st.sampled_from("ab"), min_size=1, max_size=2), min_size=1, max_size=3),
)
def test_git_says_the_same(patterns: list[str], path: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """About any path, with any patterns of which the meaning is documented."""
    folder = tmp_path_factory.getbasetemp() / "repository"
    if not folder.exists():
        subprocess.run([GIT, "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text("\n".join(patterns))
    name = "/".join(path)
    command = [GIT, "-C", str(folder), "check-ignore", "-q", "--no-index", "--", name]
    assert (subprocess.run(command, check=False).returncode == 0) == leaves_out(parse_rules("\n".join(patterns)), name)


def test_patterns_are_bounded() -> None:
    """In number and length; and no pattern takes long."""
    with pytest.raises(ValueError, match="at most 1000 patterns, found 1001"):
        parse_rules("x\n" * 1001)
    with pytest.raises(ValueError, match="at most 1024 characters, found 1025"):
        parse_rules("x" * 1025)
    assert kept("*a" * 500 + "\n" + "**/" * 300 + "b", "/".join(["a" * 250] * 30)) != []
