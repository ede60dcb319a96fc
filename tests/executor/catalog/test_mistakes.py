"""Every mistake is found, at its place, and never as a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.catalog.findings import MAX_FINDINGS, Code, has_errors
from executor.catalog.plugin import load_plugin
from tests.executor.catalog.mistakes import MISTAKES, Mistake
from tests.executor.catalog.plugins import GOOD, Edit, edited, load, places, write_plugin


def test_a_good_plugin_has_no_findings(tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong."""
    loaded = load(tmp_path)

    assert loaded.findings == ()
    assert loaded.plugin is not None


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.code.code}: {mistake.what}")
def test_a_mistake_is_found_at_its_place(tmp_path: Path, mistake: Mistake) -> None:
    """The mistake is reported with its code and place; errors and only errors keep the plugin from being used."""
    loaded = load(tmp_path / "plugin", mistake.files)

    assert (mistake.code.code, mistake.place) in places(loaded.findings)
    assert (loaded.plugin is None) == has_errors(loaded.findings)
    for finding in loaded.findings:
        assert finding.found in finding.message
        assert finding.expected in finding.message or finding.code == Code.PLUGIN_TOO_MANY_FINDINGS.code
        assert str(finding).isprintable()


def test_every_code_has_a_mistake() -> None:
    """The table leaves nothing out."""
    assert {mistake.code for mistake in MISTAKES} == set(Code)


def test_codes_are_unique_and_dotted() -> None:
    """Codes can be told apart and are stable names."""
    codes = [code.code for code in Code]

    assert len(set(codes)) == len(codes)
    assert all(code.islower() and "." in code for code in codes)


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    """Mistakes in all the files of a plugin are found in one go."""
    files = edited(
        Edit("manifest.yaml", "version: 0.0.1", "version: 1"),
        Edit("manifest.yaml", "name: cat", "name: Cat!"),
        Edit("group/cat.yaml", "secret-input", "secret"),
        Edit("group/cat.yaml", "default: red", "default: pink"),
        Edit("endpoints/cat.yaml", "/cat/<name>", "cat"),
        Edit("endpoints/cat.yaml", "GET", "STEAL"),
        Edit("endpoints/cat.py", "class Cat(Endpoint)", "class Cat(object)"),
    )

    assert places(load(tmp_path, files).findings) == [
        ("source.no_class", "endpoints/cat.py:1:1"),
        ("endpoint.path.slash", "endpoints/cat.yaml:1:7"),
        ("endpoint.method", "endpoints/cat.yaml:2:9"),
        ("setting.type", "group/cat.yaml:3:11"),
        ("setting.default", "group/cat.yaml:9:14"),
        ("field.type", "manifest.yaml:1:10"),
        ("manifest.name", "manifest.yaml:4:7"),
    ]


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    """A group that is not YAML is one finding; the manifest's own mistakes are still told."""
    files = edited(Edit("manifest.yaml", "author: tester", "author: '!'"))

    codes = [code for code, _ in places(load(tmp_path, {**files, "group/cat.yaml": "["}).findings)]

    assert codes == ["yaml.syntax", "manifest.author"]


def test_the_number_of_findings_is_bounded(tmp_path: Path) -> None:
    """A file that is wrong everywhere does not flood the terminal; it is said that there is more."""
    findings = load(tmp_path, {**GOOD, "group/cat.yaml": f"settings: [{'1, ' * 5000}]"}).findings

    assert len(findings) == MAX_FINDINGS + 1
    assert findings[-1].code == "plugin.too_many_findings"
    assert "4801 more" in findings[-1].message


@pytest.mark.parametrize(
    ("path", "hint"), [("nothing", ""), ("manifest.yaml", ""), ("cat.difypkg", "executor plugin install"), ("a\0b", "")]
)
def test_a_plugin_must_be_a_folder(tmp_path: Path, path: str, hint: str) -> None:
    """Files, packages and things that are not there are one clear finding."""
    write_plugin(tmp_path)
    (tmp_path / "cat.difypkg").write_bytes(b"PK")

    loaded = load_plugin(tmp_path / path)

    assert loaded.plugin is None
    assert places(loaded.findings) == [("plugin.folder", ".")]
    assert hint in loaded.findings[0].message


def test_what_comes_from_the_plugin_cannot_steer_a_terminal(tmp_path: Path) -> None:
    """Control characters in values are escaped in messages."""
    files = edited(Edit("manifest.yaml", "name: cat", 'name: "\\e[2J\\u202e cat"'))

    (finding,) = load(tmp_path, files).findings

    assert finding.found == 'the text "\\x1b[2J\\u202e cat"'
    assert str(finding).isprintable()
