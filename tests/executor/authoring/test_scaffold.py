"""A new plugin has nothing wrong with it, whatever it is called, and overwrites nothing."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.authoring.scaffold import AUTHOR, NAME, NewPlugin, ScaffoldError, render_files, suggest, write_plugin
from executor.catalog.plugin import load_plugin

NAMES = st.from_regex(r"[a-z0-9_-]{1,40}", fullmatch=True) | st.sampled_from(["null", "on", "1e3", "0x10", "~", "no"])
TEXTS = st.text(max_size=60) | st.sampled_from(['"', "a: b # c", "<b>", "é", "{x}", "@name@", "'", "\\"])


def plugin(**texts: str) -> NewPlugin:
    """A new plugin with these texts."""
    given = {"name": "my_cat", "author": "me", "label": "My Cat", "description": "A cat.", **texts}
    return NewPlugin(name=given["name"], author=given["author"], label=given["label"], description=given["description"])


@given(NAMES, NAMES, TEXTS, TEXTS)
def test_whatever_it_is_called(name: str, author: str, label: str, description: str) -> None:
    """It passes the check without a warning, and says what was said; or it is refused."""
    try:
        new = plugin(name=name, author=author, label=label, description=description)
    except ScaffoldError:
        assert not all(re.fullmatch(r"[a-z0-9_-]+", one) for one in (name, author)) or not all(
            text.strip() and text.isprintable() for text in (label, description)
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        write_plugin(Path(folder) / "new", render_files(new))
        loaded = load_plugin(Path(folder) / "new")
    assert loaded.findings == ()
    assert loaded.plugin is not None
    assert (loaded.plugin.name, loaded.plugin.author, str(loaded.plugin.label)) == (name, author, label)


@given(st.text(max_size=200))
def test_suggestions_are_allowed(text: str) -> None:
    """What is suggested is a name, if it is not too long."""
    suggested = suggest(text, "otherwise")[:64].rstrip("_")
    assert NAME.check(suggested) == AUTHOR.check(suggested) == suggested


def test_names_that_are_not_allowed() -> None:
    """The message has the form that is, and another name."""
    for name, message in (
        ("My Cat!", 'the plugin\'s name must be 1 to 128 of a-z, 0-9, _ and -, found "My Cat!"; how about my_cat?'),
        ("", "the plugin's name must be 1 to 128 of a-z, 0-9, _ and -, found nothing"),
        ("é", 'the plugin\'s name must be 1 to 128 of a-z, 0-9, _ and -, found "é"'),
    ):
        with pytest.raises(ScaffoldError) as caught:
            plugin(name=name)
        assert str(caught.value) == message
    with pytest.raises(ScaffoldError, match="the author must be 1 to 64"):
        plugin(author="a" * 65)
    with pytest.raises(ScaffoldError, match="the label must be a line"):
        plugin(label="a\nb")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """One file in the way is enough, and then nothing is written; other files may be there."""
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ScaffoldError, match=r"has README\.md already"):
        write_plugin(tmp_path, render_files(plugin()))
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"
    (tmp_path / "README.md").rename(tmp_path / "LICENSE")
    write_plugin(tmp_path, render_files(plugin()))
    assert (tmp_path / "manifest.yaml").exists()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """It is said, and nothing of it is left."""
    (tmp_path / "endpoints").write_text("a file")
    with pytest.raises(ScaffoldError, match="cannot be written"):
        write_plugin(tmp_path, render_files(plugin()))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "endpoints"]
    with pytest.raises(ScaffoldError, match="is not a folder"):
        write_plugin(tmp_path / "endpoints", {})


def test_every_placeholder_is_filled() -> None:
    """And every file has the text that its name promises."""
    files = render_files(plugin())
    assert not [path for path, text in files.items() if re.search(r"@[a-z_]+@", text)]
    assert {"manifest.yaml", "group/my_cat.yaml", "main.py", "requirements.txt", "_assets/icon.svg"} <= set(files)
    assert {".difyignore", ".gitignore", "README.md", "tests/test_endpoints.py"} <= set(files)
    assert "settings.local.yaml" in files[".gitignore"]
    assert "settings.local.yaml" in files[".difyignore"]
