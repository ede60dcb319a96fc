"""Where the compared plugins come from: their public repositories, at a commit, by git."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Final

from tests.compat.samples import Sample

__all__ = ["SourceError", "provide_source"]

GITHUB: Final = "https://github.com"


class SourceError(Exception):
    """A plugin's source cannot be had; the text says why."""


def provide_source(sample: Sample, folder: Path, mirror: str | None) -> Path:
    """Return the folder of a plugin's unmodified source, from git unless it is there already.

    Args:
        sample: Which.
        folder: Where sources are kept.
        mirror: Where repositories are on this machine, with `{owner}` and `{name}` in it; None: GitHub.

    Raises:
        SourceError: git has failed.
    """
    owner, _, name = sample.repository.partition("/")
    target = folder / f"{owner}+{name}" / sample.commit
    plugin = target / sample.folder
    if (plugin / "manifest.yaml").exists():
        return plugin
    target.mkdir(parents=True, exist_ok=True)
    if mirror:
        repository = mirror.format(owner=owner, name=name)
    else:
        repository = str(target / "git")
        _git("init", "--quiet", "--bare", repository)
        # not by `remote add`, which fails where an earlier attempt has come so far
        _git("-C", repository, "config", "remote.origin.url", f"{GITHUB}/{owner}/{name}")
        _git("-C", repository, "fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin", sample.commit)
    archive = target / "source.tar"
    _git("-C", repository, "archive", f"--output={archive}", sample.commit, sample.folder or ".")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    archive.unlink()
    return plugin


def _git(*arguments: str) -> None:
    done = subprocess.run(["/usr/bin/env", "git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        problem = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise SourceError(f"{problem} (git {' '.join(arguments)}); --mirror tells where else repositories are")
