"""Which indexes are used: the configuration's, else those of uv, else those of pip, else uv's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.config.environments import EnvironmentSettings
from executor.environments.errors import BuildError
from executor.environments.indexes import IndexSettings, find_indexes, hide_password

NAME = "index_url".replace("_", "-")
"""How pip and uv write it in their files."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which nobody has configured anything."""
    (tmp_path / ".config").mkdir()
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "PIP_CONFIG_FILE": "/dev/null"}


def settings(**given: object) -> EnvironmentSettings:
    """The section `environments`."""
    return EnvironmentSettings.model_validate(given)


def test_the_configuration_wins(env: dict[str, str]) -> None:
    """Further indexes come first, and what uv and pip have does not count."""
    env |= {"UV_DEFAULT_INDEX": "https://uv.example/simple", "PIP_INDEX_URL": "https://pip.example/simple"}
    found = find_indexes(
        settings(index_url="https://a.example/simple", extra_index_urls=["https://b.example"], find_links=["/wheels"]),
        env,
    )
    assert found == IndexSettings(("https://b.example", "https://a.example/simple"), ("/wheels",))


def test_variables_of_uv(env: dict[str, str]) -> None:
    """Names of indexes are left out."""
    env |= {"UV_DEFAULT_INDEX": "main=https://a.example", "UV_INDEX": "https://b.example c=https://c.example?x=y"}
    assert find_indexes(settings(), env).indexes == ("https://b.example", "https://c.example?x=y", "https://a.example")


def test_the_file_of_uv(env: dict[str, str], tmp_path: Path) -> None:
    """Both ways of writing it; explicit indexes are for packages that name them."""
    (tmp_path / ".config" / "uv").mkdir()
    (tmp_path / ".config" / "uv" / "uv.toml").write_text(
        '[[index]]\nurl = "https://a.example"\ndefault = true\n[[index]]\nurl = "https://b.example"\n'
        '[[index]]\nurl = "https://c.example"\nexplicit = true\n[pip]\n'
        f'extra-{NAME} = ["https://d.example"]\n'
    )
    assert find_indexes(settings(), env).indexes == ("https://d.example", "https://b.example", "https://a.example")


def test_the_files_of_pip(env: dict[str, str], tmp_path: Path) -> None:
    """The best version of all indexes counts then, as with pip."""
    file = tmp_path / "pip.conf"
    file.write_text(
        f"[global]\n{NAME} = https://a.example\n[install]\nextra-{NAME} =\n  https://b.example\n  file:///srv\n"
    )
    env["PIP_CONFIG_FILE"] = str(file)
    found = find_indexes(settings(), env)
    assert found.indexes == ("https://b.example", "file:///srv", "https://a.example")
    assert found.best_match
    env["PIP_INDEX_URL"] = "https://c.example"
    assert find_indexes(settings(), env).indexes[-1] == "https://c.example"


def test_nobody_has_configured_any(env: dict[str, str]) -> None:
    """Then it is the one that uv itself would use; further indexes and folders still count."""
    found = find_indexes(settings(extra_index_urls=["https://b.example"], find_links=["/wheels"]), env)
    assert found.indexes[0] == "https://b.example"
    assert found.indexes[1].startswith("https://")
    assert found.links == ("/wheels",)
    assert not found.best_match


def test_files_that_cannot_be_read(env: dict[str, str], tmp_path: Path) -> None:
    """They are named."""
    (tmp_path / ".config" / "uv").mkdir()
    (tmp_path / ".config" / "uv" / "uv.toml").write_text("[[")
    with pytest.raises(BuildError, match=r"uv\.toml, which configures uv, cannot be read"):
        find_indexes(settings(), env)


def test_passwords_are_not_shown() -> None:
    """Nor what else only an owner should know."""
    assert hide_password("https://me:secret@a.example:8443/simple/?token=x") == "https://a.example:8443/simple/"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "https://",
        "https://u:p@x.example",
        "https://u@x.example/simple",
        "x",
        "https://x.example?t=1",
        "file:x y",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    """Passwords too: a configuration is shown to people."""
    with pytest.raises(ValueError, match="index_url"):
        settings(index_url=url)
