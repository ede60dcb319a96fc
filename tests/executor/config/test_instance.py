"""Running executors announce themselves, and what ended ones left is cleared away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from executor.config.instance import announce, find_instances, make_state_dir

ANNOUNCE = """
import sys
from pathlib import Path
from executor.config.instance import announce
with announce(Path(sys.argv[1]), public="http://127.0.0.1:1", admin="http://127.0.0.1:2"):
    print("announced", flush=True)
    sys.stdin.read()
"""


def test_an_executor_is_found_while_it_runs(tmp_path: Path) -> None:
    """And not afterwards."""
    state_dir = tmp_path / "state"
    assert find_instances(state_dir) == ()
    with announce(state_dir, public="http://127.0.0.1:1", admin="http://127.0.0.1:2") as file:
        (instance,) = find_instances(state_dir)
        assert instance.pid == os.getpid()
        assert (instance.public, instance.admin) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
        assert file.exists()
    assert find_instances(state_dir) == ()
    assert not file.exists()


def test_the_state_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    """Secrets may come to lie there."""
    make_state_dir(tmp_path / "a" / "state")
    assert (tmp_path / "a" / "state").stat().st_mode & 0o777 == 0o700
    make_state_dir(tmp_path / "a" / "state")


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    """As an error of the operating system."""
    (tmp_path / "state").touch()
    with pytest.raises(NotADirectoryError, match="it is not a folder"):
        make_state_dir(tmp_path / "state")


def test_several_executors_are_found(tmp_path: Path) -> None:
    """Each with a file of its own; a killed one is forgotten."""
    with (
        announce(tmp_path, public="http://127.0.0.1:3", admin="http://127.0.0.1:4"),
        subprocess.Popen(
            [sys.executable, "-c", ANNOUNCE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == b"announced\n"
        assert {instance.pid for instance in find_instances(tmp_path)} == {os.getpid(), other.pid}
        other.kill()
        other.wait()
        assert len(list((tmp_path / "run").iterdir())) == 2
        assert [instance.pid for instance in find_instances(tmp_path)] == [os.getpid()]
        assert len(list((tmp_path / "run").iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [{"process": "another"}, {"pid": 0}, {"pid": 2**22 + 1}, {"pid": "1"}, {"pid": True}, {"extra": 1}],
)
def test_files_that_tell_of_no_running_executor_are_removed(tmp_path: Path, change: dict[str, object]) -> None:
    """The process may have ended, and its id may belong to another one since."""
    with announce(tmp_path, public="a", admin="b") as file:
        content = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(content | change), encoding="utf-8")
        assert find_instances(tmp_path) == ()
        assert not file.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", "3", "{", "\ufffd"])
def test_files_that_cannot_be_read_are_removed(tmp_path: Path, content: str) -> None:
    """Whatever is in them."""
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "7.json"
    file.write_text(content, encoding="utf-8")
    assert find_instances(tmp_path) == ()
    assert not file.exists()
