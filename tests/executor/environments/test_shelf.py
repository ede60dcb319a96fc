"""The shelf: what is taken over from a build, what stays, what goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executor.environments.errors import BuildError
from executor.environments.shelf import Record, Shelf, take_over

DIGEST = "ab" * 32


def record(digest: str = DIGEST) -> Record:
    """An environment that was built in 1970."""
    return Record(
        digest=digest,
        python="3.12.1",
        program="/usr/bin/python3.12",
        kind="lock",
        plugin="/plugin",
        packages=("duck==1.0",),
        size=5,
        files=1,
        built_at=1.0,
        seconds=2.0,
    )


def put(shelf: Shelf) -> Path:
    """Put an environment on the shelf."""
    with shelf.work(DIGEST) as work:
        room = work / "room"
        (room / "venv").mkdir(parents=True)
        shelf.put(room, record())
    return shelf.place(DIGEST)


def test_it_is_found_again(tmp_path: Path) -> None:
    """With its record, and the folder of work is gone."""
    shelf = Shelf(tmp_path)
    assert shelf.records() == ()
    place = put(shelf)
    assert place == tmp_path / DIGEST
    assert (place / "venv").is_dir()
    assert shelf.records() == (record(),)
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"packages": 5}', '{"packages": [], "more": 1}'])
def test_a_record_that_is_none(tmp_path: Path, content: str) -> None:
    """An environment without its record is none; a new one takes its place."""
    shelf = Shelf(tmp_path)
    place = put(shelf)
    (place / "environment.json").write_text(content)
    assert shelf.find(DIGEST) is None
    put(shelf)
    assert shelf.find(DIGEST) == record()


def test_uses_keep_it(tmp_path: Path) -> None:
    """As do builds that are under way, and a use that was a moment ago."""
    shelf = Shelf(tmp_path)
    put(shelf)
    use = shelf.use(DIGEST)
    assert shelf.is_used(DIGEST)
    now = shelf.last_use(DIGEST)
    assert shelf.collect(keep_s=0, now=now + 1) == ()
    use.close()
    with shelf.building(DIGEST, lambda: None):
        assert shelf.collect(keep_s=0, now=now + 1) == ()
    assert shelf.collect(keep_s=10, now=now + 5) == ()
    assert shelf.collect(keep_s=10, now=now + 20) == (tmp_path / DIGEST,)
    assert not (tmp_path / DIGEST).exists()


def test_what_a_killed_build_has_left_goes(tmp_path: Path) -> None:
    """Not the folder of one that is under way; folders without rights do not keep it."""
    shelf = Shelf(tmp_path)
    left = tmp_path / "work" / "left"
    (left / "closed" / "deep").mkdir(parents=True)
    (left / "closed").chmod(0)
    with shelf.work(DIGEST) as folder:
        shelf.collect(keep_s=0, now=0)
        assert folder.exists()
        assert not left.exists()


def test_what_was_built_becomes_ours(tmp_path: Path) -> None:
    """Modes that give rights go, links are not followed."""
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    room = tmp_path / "room"
    (room / "folder").mkdir(parents=True)
    (room / "folder").chmod(0o777)
    (room / "program").write_text("")
    (room / "program").chmod(0o6777)
    (room / "text").write_text("")
    (room / "text").chmod(0o622)
    (room / "link").symlink_to(outside)
    take_over(room)
    modes = {path.name: path.lstat().st_mode & 0o7777 for path in room.iterdir() if not path.is_symlink()}
    assert modes == {"folder": 0o755, "program": 0o755, "text": 0o644}
    assert outside.stat().st_mode & 0o7777 == 0o600


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Whoever reads it would wait."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BuildError, match="pipe, which is neither file, folder nor link"):
        take_over(tmp_path)
