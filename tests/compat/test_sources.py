"""Sources by git: of this machine, of GitHub, and after an attempt that has failed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.compat import sources
from tests.compat.samples import Sample
from tests.compat.sources import SourceError, provide_source


def make_repository(folder: Path) -> str:
    """Make a repository with a plugin in a folder of it; its commit."""
    (folder / "plugins" / "cat").mkdir(parents=True)
    (folder / "plugins" / "cat" / "manifest.yaml").write_text("name: cat\n")
    who = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "A cat"]):
        git(folder, *words)
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    """What git says of a repository."""
    command = ["/usr/bin/env", "git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def cat(commit: str) -> Sample:
    """A sample that is asked nothing."""
    return Sample(name="cat", repository="tester/cats", commit=commit, folder="plugins/cat", settings={}, requests=())


def test_from_a_repository_of_this_machine(tmp_path: Path) -> None:
    """Only the plugin's folder is taken, and git is not asked again."""
    sample = cat(make_repository(tmp_path / "tester+cats"))
    plugin = provide_source(sample, tmp_path / "sources", f"{tmp_path}/{{owner}}+{{name}}")
    assert [path.name for path in plugin.iterdir()] == ["manifest.yaml"]
    assert provide_source(sample, tmp_path / "sources", "/nowhere") == plugin


def test_an_attempt_that_fails_does_not_hinder_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the address, what git said, and what else can be done."""
    commit = make_repository(tmp_path / "made")
    monkeypatch.setattr(sources, "GITHUB", f"file://{tmp_path}/hub")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"/hub/tester/cats' .*; --mirror tells where else repositories are$"):
            provide_source(cat(commit), tmp_path / "sources", None)
    (tmp_path / "hub" / "tester").mkdir(parents=True)
    (tmp_path / "made").rename(tmp_path / "hub" / "tester" / "cats")
    assert (provide_source(cat(commit), tmp_path / "sources", None) / "manifest.yaml").is_file()
