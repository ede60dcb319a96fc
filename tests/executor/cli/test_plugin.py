"""`executor plugin`: install, list, show, upgrade, remove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from executor.packages.pack import pack_folder
from tests.executor.catalog.plugins import Edit, edited, write_plugin
from tests.executor.installed.support import Lab, write_version
from tests.executor.packages.support import Raw, good_entries, make_key, make_zip, write_keys


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Nothing installed."""
    return Lab(tmp_path)


def test_versions_are_installed_side_by_side(lab: Lab) -> None:
    """From a package and from a folder; the same one again is none more."""
    assert "nothing is installed" in lab("plugin", "list")
    first = lab.install("0.0.1")
    package = lab.folder / "cat.difypkg"
    package.write_bytes(pack_folder(write_version(lab.folder / "two", "0.0.2")).data)
    second = json.loads(lab("plugin", "install", package, "--format", "json"))
    assert (second["version"], second["fresh"], second["warnings"]) == ("0.0.2", True, [])
    assert lab("plugin", "install", package).startswith("installed already: tester/cat:0.0.2@")
    listed = json.loads(lab("plugin", "list", "--format", "json"))["plugins"]
    assert [one["identifier"] for one in listed] == [first, second["identifier"]]
    table = lab("plugin", "list")
    assert "tester/cat  0.0.1" in table
    assert listed[0]["checksum"][:12] in table


def test_what_to_do_next_is_said(lab: Lab) -> None:
    """A hook for the first version, an upgrade for the next."""
    folder = write_version(lab.folder / "one", "0.0.1")
    assert "to create: executor hook create cat" in lab("plugin", "install", folder)
    lab("hook", "create", "cat", "--from-env", "token=T", environment={"T": "x"})
    folder = write_version(lab.folder / "two", "0.0.2")
    assert "its hook stays with the version that it has; to upgrade: executor plugin upgrade cat" in lab(
        "plugin", "install", folder
    )


def test_a_version_is_shown(lab: Lab) -> None:
    """With its settings, endpoints and hooks, for people and for programs."""
    identifier = lab.install("0.0.1")
    hook = json.loads(
        lab("hook", "create", "cat", "--from-env", "token=T", "--format", "json", environment={"T": "x"})
    )["hook_id"]
    shown = json.loads(lab("plugin", "show", "tester/cat", "--format", "json"))
    assert shown["identifier"] == identifier
    assert shown["hooks"] == [hook]
    assert shown["endpoints"] == [{"method": "GET", "path": "/cat/<name>", "source": "endpoints/cat.py"}]
    assert [(one["name"], one["type"], one["required"], one["default"]) for one in shown["settings"]] == [
        ("token", "secret-input", True, None),
        ("colour", "select", False, "red"),
    ]
    text = lab("plugin", "show", "cat")
    for part in (identifier, hook, "/cat/<name>", "secret-input", "default: red", "required"):
        assert part in text


def test_hooks_are_switched_and_back(lab: Lab) -> None:
    """All of a plugin, or one; the version before is remembered."""
    first = lab.install("0.0.1")
    for hook in ("one", "two"):
        lab("hook", "create", "cat", "--id", hook, "--from-env", "token=T", environment={"T": "x"})
    second = lab.install("0.0.2")
    done = json.loads(lab("plugin", "upgrade", "cat", "--hook", "two", "--format", "json"))
    assert done == {"hooks": [{"hook_id": "two", "from": first, "to": second}], "services": []}
    assert f"hook one: {first} -> {second}" in lab("plugin", "upgrade", "cat")
    assert "served by this version already" in lab("plugin", "upgrade", "cat")
    lab("plugin", "upgrade", "cat", "--back")
    assert {one["identifier"] for one in hooks(lab)} == {first}
    lab("plugin", "upgrade", "cat", "--back")
    assert {one["identifier"] for one in hooks(lab)} == {second}
    lab("plugin", "upgrade", "cat:0.0.1")
    assert {one["identifier"] for one in hooks(lab)} == {first}
    third = write_version(lab.folder / "three", "0.0.3")
    assert ":0.0.3@" in lab("plugin", "upgrade", third)
    assert "tester/cat has no hook three; it has " in lab.refuse("plugin", "upgrade", "cat", "--hook", "three")


def hooks(lab: Lab) -> list[dict[str, object]]:
    """The hooks."""
    listed: list[dict[str, object]] = json.loads(lab("hook", "list", "--format", "json"))["hooks"]
    return listed


def test_settings_that_do_not_fit_stop_an_upgrade(lab: Lab) -> None:
    """Of all hooks at once, and none is switched; with the missing value, one by one, they can be."""
    lab.install("0.0.1")
    for hook in ("one", "two"):
        lab("hook", "create", "cat", "--id", hook, "--from-env", "token=T", environment={"T": "x"})
    lab.install("0.1.0", needs_more=True)
    assert lab.refuse("plugin", "upgrade", "cat").splitlines() == [
        f"error: hook {hook}: setting size: expected a text, found nothing" for hook in ("one", "two")
    ]
    assert {one["version"] for one in hooks(lab)} == {"0.0.1"}
    lab("hook", "set", "one", "--version", "0.1.0", "--set", "size=large")
    assert [one["version"] for one in hooks(lab)] == ["0.1.0", "0.0.1"]
    assert "no version before the present one is known" in lab.refuse("plugin", "upgrade", "cat", "--back")
    lab("plugin", "upgrade", "cat", "--back", "--hook", "one")
    shown = json.loads(lab("hook", "show", "one", "--format", "json"))
    assert shown["settings"] == {"token": "*", "colour": "red", "size": "large"}


def test_versions_are_removed(lab: Lab) -> None:
    """Only those that serve no hook; a version to go back to is forgotten with it."""
    lab.install("0.0.1")
    lab("hook", "create", "cat", "--id", "one", "--from-env", "token=T", environment={"T": "x"})
    lab.install("0.0.2")
    assert "name one of them, or give --all" in lab.refuse("plugin", "remove", "cat")
    assert "serves the hooks one" in lab.refuse("plugin", "remove", "cat:0.0.1")
    lab("plugin", "upgrade", "cat")
    assert lab("plugin", "remove", "cat:0.0.1").startswith("removed tester/cat:0.0.1@")
    assert hooks(lab)[0]["previous"] is None
    lab("hook", "remove", "one")
    lab("plugin", "remove", "cat", "--all")
    assert [path.name for path in (lab.state_dir / "plugins").iterdir()] == [".lock"]


def test_names_are_found(lab: Lab) -> None:
    """Short ones, long ones, the first digits of a checksum; what is not clear is refused with what there is."""
    first, second = lab.install("0.0.1"), lab.install("0.0.2")
    checksum = first.partition("@")[2]
    for name, identifier in (
        ("cat", second),
        ("tester/cat", second),
        ("cat:0.0.1", first),
        (f"cat@{checksum[:6]}", first),
        (f"tester/cat:0.0.1@{checksum}", first),
    ):
        assert json.loads(lab("plugin", "show", name, "--format", "json"))["identifier"] == identifier
    assert f"there are: {first}, {second}" in lab.refuse("plugin", "show", "cat:0.0.3")
    assert "there are: tester/cat" in lab.refuse("plugin", "show", "dog")
    assert "expected a plugin such as cat" in lab.refuse("plugin", "show", "CAT!")
    lab.install("0.0.1", author="other")
    assert "cat may be other/cat or tester/cat; give the author as well" in lab.refuse("plugin", "show", "cat")
    empty = Lab(lab.folder / "empty")
    assert "no plugin is installed" in empty.refuse("plugin", "show", "cat")


def test_bad_packages_are_refused(lab: Lab) -> None:
    """Each with the reason, and nothing is installed."""
    package = lab.folder / "bad.difypkg"
    package.write_bytes(make_zip([*good_entries(), Raw(name=b"../x")]))
    assert f'error: {package}: entry "../x": expected a path without' in lab.refuse("plugin", "install", package)
    assert "/none is not there; expected a .difypkg file, or a plugin's folder" in lab.refuse(
        "plugin", "install", lab.folder / "none"
    )
    broken = write_plugin(lab.folder / "broken", edited(Edit("manifest.yaml", "name: cat", "name: Cat!")))
    refused = lab.refuse("plugin", "install", broken)
    assert refused.startswith(f"error: {broken}/manifest.yaml:4:7: name: expected")
    assert all(line.startswith("error: ") for line in refused.splitlines())
    assert "nothing is installed" in lab("plugin", "list")
    assert [path.name for path in (lab.state_dir / "plugins").iterdir()] == [".lock"]


def test_signatures_may_be_required(lab: Lab) -> None:
    """Of packages; folders have none. Keys and the size are those of the configuration."""
    private, public = write_keys(make_key(), lab.folder)
    config = lab.folder / "executor.yaml"
    config.write_text(yaml.safe_dump({"packages": {"require_signature": True, "public_keys": [str(public)]}}))
    folder = write_version(lab.folder / "one", "0.0.1")
    assert "found a folder, which has no signature" in lab.refuse("plugin", "install", folder, "--config", config)
    package = lab.folder / "cat.difypkg"
    package.write_bytes(pack_folder(folder).data)
    assert "found no signature" in lab.refuse("plugin", "install", package, "--config", config)
    signed = lab.run("plugin", "package", folder, "-o", package, "--sign", private)
    assert signed.exit_code == 2, "it takes no state folder"
    package.write_bytes(pack_folder(folder, key=make_key()).data)
    assert "a signature by none of them" in lab.refuse("plugin", "install", package, "--config", config)
    from executor.packages.signature import load_private_key

    package.write_bytes(pack_folder(folder, key=load_private_key(private)).data)
    assert f"signature: good, by {public}" in lab("plugin", "install", package, "--config", config)
    (installed,) = json.loads(lab("plugin", "list", "--format", "json"))["plugins"]
    assert installed["signed_by"] == str(public)
    config.write_text(yaml.safe_dump({"packages": {"require_signature": True}}))
    assert "packages.public_keys: no package can be installed" in lab.refuse(
        "plugin", "install", package, "--config", config
    )
    config.write_text(yaml.safe_dump({"packages": {"files": 3}}))
    assert "expected 1 to 3 files, found 5 files" in lab.refuse("plugin", "install", package, "--config", config)


def test_files_of_others_in_the_state_folder_stay(lab: Lab) -> None:
    """Only folders of versions that are not installed are swept."""
    lab.install("0.0.1")
    kept = lab.state_dir / "plugins" / "notes" / "mine"
    kept.mkdir(parents=True)
    (kept / "file").write_text("x")
    orphan = lab.state_dir / "plugins" / "tester" / "cat" / "0.0.9@abcd"
    orphan.mkdir()
    lab.install("0.0.2")
    assert not orphan.exists()
    assert (kept / "file").exists()
