"""Which package indexes are used: those of the configuration, else those that uv or pip are configured with here.

No index is named in this project. Where nobody has configured any, it is the one that uv itself would use, and uv says
which that is. Addresses may hold passwords: they are for `upstream` only, and never get into a build or a message.

Sources: the documentation of uv, "Package indexes"; pip's "Configuration", of which files and names are the same here.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import uv

from executor.config.environments import EnvironmentSettings
from executor.environments.errors import BuildError

__all__ = ["IndexSettings", "find_indexes", "hide_password"]

MAX_FILE: Final = 1024**2
ASK_TIME_S: Final = 30.0

_DEFAULT: Final = re.compile(r"\(by\s+default:\s+<(https://[^>\s]+)>\)")
_INDEX: Final = "index_url"
_EXTRA: Final = "extra_index_url"
_LINKS: Final = "find_links"
_NAMES: Final = (_INDEX, _EXTRA, _LINKS)


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where packages come from.

    Attributes:
        indexes: Addresses of simple indexes, the preferred ones first.
        links: Folders, or addresses of pages with links.
        best_match: Whether the best version over all indexes is taken, as pip does, and not that of the first index
            that has the package, as uv does.
        certificates: A file with further certificates that are trusted, or nothing.
    """

    indexes: tuple[str, ...]
    links: tuple[str, ...] = ()
    best_match: bool = False
    certificates: str = ""


def find_indexes(settings: EnvironmentSettings, env: Mapping[str, str] | None = None) -> IndexSettings:
    """Find out where packages come from.

    Args:
        settings: The section `environments`.
        env: The environment of the executor; its own when not given.

    Raises:
        BuildError: A file of the host's configuration cannot be used.
    """
    given = os.environ if env is None else env
    links = tuple(str(link) for link in settings.find_links)
    certificates = given.get("SSL_CERT_FILE") or _pip_option("cert", given)
    if settings.index_url is not None:
        return IndexSettings((*settings.extra_index_urls, settings.index_url), links, certificates=certificates)
    found, best_match = _uv(given), False
    if not any(found.values()):
        found = _pip(given)
        best_match = any(found.values())
    default = found[_INDEX][-1:] or (_ask_default(),)
    indexes = (*settings.extra_index_urls, *found[_EXTRA], *default)
    return IndexSettings(
        tuple(dict.fromkeys(indexes)), (*links, *found[_LINKS]), best_match and len(indexes) > 1, certificates
    )


def hide_password(url: str) -> str:
    """Show an address without what only its owner should know."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, query="", fragment=""))


def _ask_default() -> str:
    """Ask uv which index it would use.

    Raises:
        BuildError: It does not say.
    """
    command = [uv.find_uv_bin(), "help", "pip", "install"]
    env = {"PATH": os.defpath, "NO_COLOR": "1"}
    try:
        answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=ASK_TIME_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"uv does not run: {error}") from error
    found = _DEFAULT.search(answer.stdout)
    if found is None:
        raise BuildError("uv does not say which package index it uses", advice="set environments.index_url")
    return found[1]


def _uv(env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What uv is configured with: variables first, then the user's file, then the system's."""
    found = {
        _INDEX: _words(env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL", "")),
        _EXTRA: _words(env.get("UV_INDEX", "")) + _words(env.get("UV_EXTRA_INDEX_URL", "")),
        _LINKS: _words(env.get("UV_FIND_LINKS", "").replace(",", " ")),
    }
    found = {name: tuple(_without_name(url) for url in urls) for name, urls in found.items()}
    for path in _uv_files(env):
        content = _read_toml(path)
        below = content.get("pip")
        for name, urls in _uv_table((below if isinstance(below, dict) else {}) | content).items():
            found[name] = found[name] or urls
    return found


def _uv_files(env: Mapping[str, str]) -> Iterator[Path]:
    if "UV_CONFIG_FILE" in env:
        yield Path(env["UV_CONFIG_FILE"])
        return
    home = Path(env.get("HOME", "/nonexistent"))
    yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml"
    for folder in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(folder) / "uv" / "uv.toml"
    yield Path("/etc/uv/uv.toml")


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(MAX_FILE).decode())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, ValueError) as error:
        raise BuildError(f"{path}, which configures uv, cannot be read: {error}") from error


def _uv_table(table: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """What a configuration file of uv says."""
    named = {name.replace("-", "_"): value for name, value in table.items()}
    default = [str(named[_INDEX])] if _INDEX in named else []
    extra = [str(url) for url in _list(named.get(_EXTRA))]
    for entry in _list(named.get("index")):
        if isinstance(entry, Mapping) and "url" in entry and not entry.get("explicit"):
            (default if entry.get("default") else extra).append(str(entry["url"]))
    links = [str(link) for link in _list(named.get(_LINKS))]
    return {_INDEX: tuple(default), _EXTRA: tuple(extra), _LINKS: tuple(links)}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _pip(env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {name: _words(_pip_option(name, env)) for name in _NAMES}


def _pip_option(name: str, env: Mapping[str, str]) -> str:
    """What pip is configured with: the variable, else the most specific file that has the option."""
    value = env.get(f"PIP_{name.upper()}", "")
    if value:
        return value
    for path in _pip_files(env):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise BuildError(f"{path}, which configures pip, cannot be read: {error}") from error
        for section in ("install", "global"):
            for key, text in parser.items(section) if parser.has_section(section) else ():
                if key.replace("-", "_") == name and text:
                    return text
    return ""


def _pip_files(env: Mapping[str, str]) -> Iterator[Path]:
    """The files of pip, the most specific ones first."""
    named = env.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    if named:
        yield Path(named)
    yield Path(sys.prefix) / "pip.conf"
    home = Path(env.get("HOME", "/nonexistent"))
    yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield home / ".pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    for folder in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(folder) / "pip" / "pip.conf"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _without_name(url: str) -> str:
    """`name=https://...` is how uv lets an index have a name."""
    name, sign, rest = url.partition("=")
    return rest if sign and "/" not in name else url
