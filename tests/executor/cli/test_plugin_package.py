"""`executor plugin package`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from executor.packages.folders import PackageFolders
from executor.packages.signature import load_public_key
from tests.executor.catalog.plugins import Edit, edited, write_plugin
from tests.executor.packages.support import make_key, write_keys


def run(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(create_app(), ["plugin", "package", *map(str, arguments)])


def test_a_plugin_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its name and version, in the working folder; the identifier that is printed is the installed one."""
    monkeypatch.chdir(tmp_path)
    result = run(write_plugin(tmp_path / "folder"))
    assert result.exit_code == 0, result.stderr
    first, identifier = result.stdout.splitlines()
    assert first.startswith("cat-0.0.1.difypkg: 5 files, ")
    unpacked = PackageFolders(tmp_path / "plugins").add((tmp_path / "cat-0.0.1.difypkg").read_bytes())
    assert unpacked.identifier == identifier
    assert not unpacked.signed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat-0.0.1.difypkg", "folder", "plugins"]


def test_a_plugin_is_packed_and_signed(tmp_path: Path) -> None:
    """With a key, to a place of choice, over what was there."""
    private, public = write_keys(make_key(), tmp_path)
    file = tmp_path / "out.difypkg"
    file.write_text("old")
    result = run(write_plugin(tmp_path / "folder"), "-o", file, "--sign", private)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].endswith(", signed")
    keys = [load_public_key(public)]
    folders = PackageFolders(tmp_path / "plugins", keys=keys, require_signature=True)
    assert folders.add(file.read_bytes()).key == keys[0]


def test_what_could_not_be_served_is_not_packed(tmp_path: Path) -> None:
    """Mistakes are told with their places; so are keys and files that cannot be used; nothing is written."""
    broken = write_plugin(tmp_path / "broken", edited(Edit("manifest.yaml", "name: cat", "name: Cat!")))
    linked = write_plugin(tmp_path / "linked")
    (linked / "more").symlink_to("manifest.yaml")
    good = write_plugin(tmp_path / "good")
    file = tmp_path / "x.difypkg"
    for arguments, message in (
        ((broken, "-o", file), f"error: {broken}/manifest.yaml:4:7: name: expected"),
        ((linked, "-o", file), 'error: entry "more": expected regular files alone, found a symbolic link'),
        ((good, "-o", file, "--sign", tmp_path / "none"), f"error: {tmp_path}/none: the key cannot be read: No such"),
        ((good, "-o", tmp_path / "none" / "x"), f"error: {tmp_path}/none/x: the package cannot be written: No such"),
        ((tmp_path / "none", "-o", file), "expected a folder with a manifest.yaml"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert message in result.stderr
    assert not list(tmp_path.glob("*x.difypkg*"))
