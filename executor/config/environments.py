"""The section `environments`: how the environments of plugins are built, and what a build may use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from executor.config.section import Section
from executor.config.texts import FilePath, Text, make_path
from executor.config.units import Count, Cpus, Duration, Size

__all__ = ["BuildLimits", "EnvironmentChoice", "EnvironmentPlace", "EnvironmentSettings"]

MAX_URL: Final = 2048

EnvironmentChoice = Literal["own", "shared"]
"""`own`: built from the plugin's files; `shared`: the executor's own, with the bundled `dify_plugin`."""

_CHOICES: Final = ("own", "shared")


def _index_url(text: str) -> str | None:
    parts = urlsplit(text)
    plain = text.isprintable() and " " not in text and len(text) <= MAX_URL and not parts.query and not parts.fragment
    whole = parts.scheme == "file" or (parts.scheme in {"http", "https"} and parts.hostname)
    return text if plain and whole and "@" not in parts.netloc else None


def _place(value: object, info: ValidationInfo) -> object:
    return value if value in _CHOICES else make_path(value, info)


IndexUrl = Annotated[
    str, Text(_index_url, "an http, https or file address without user and password, which are taken from ~/.netrc")
]
EnvironmentPlace = Annotated[
    EnvironmentChoice | Path,
    BeforeValidator(_place),
    WithJsonSchema({"type": "string"}),
    PlainSerializer(str, when_used="json"),
]
"""One of the two words, or the folder of a virtual environment that somebody else has made."""

Flag = Annotated[bool, Field(strict=True)]


class BuildLimits(Section):
    """Bounds of the build of one environment."""

    total_time: Annotated[float, Duration("1s", "24h", "10m")] = Field(
        default=600.0, description="Longest duration of a build."
    )
    silent_time: Annotated[float, Duration("1s", "24h", "2m")] = Field(
        default=120.0, description="Longest time that a build may say nothing and fetch nothing."
    )
    memory: Annotated[int, Size("128 MiB", "1 TiB", "2 GiB")] = Field(
        default=2 * 1024**3, description="Memory of all processes of a build, with their files in `/tmp`."
    )
    processes: Annotated[int, Count(16, 32_768)] = Field(
        default=256, description="Processes and threads of a build together."
    )
    cpu_share: Annotated[float, Cpus(0.05, 256)] = Field(
        default=2.0, description="CPUs that a build may use at a time, where control groups can limit it."
    )
    disk: Annotated[int, Size("1 MiB", "16 TiB", "4 GiB")] = Field(
        default=4 * 1024**3, description="Everything that a build writes: the environment, its cache, what it compiles."
    )
    files: Annotated[int, Count(100, 100_000_000)] = Field(
        default=500_000, description="Files, folders and links that a build makes."
    )
    free_disk: Annotated[int, Size("0 B", "16 TiB", "256 MiB")] = Field(
        default=256 * 1024**2, description="A build ends when the file system has less than this left."
    )


class EnvironmentSettings(Section):
    """Environments of plugins: built by uv from their `pyproject.toml` or `requirements.txt`, in a sandbox."""

    default: EnvironmentChoice | None = Field(
        default=None,
        description="For plugins that do not say: `own` builds an environment from the plugin's files, `shared` is the "
        "executor's own with the bundled `dify_plugin`. Not given: `own` where these files name more than "
        "`dify_plugin`.",
    )
    index_url: IndexUrl | None = Field(
        default=None,
        description="The package index, as `https://`, `http://` or `file://`. Not given: what uv or pip are "
        "configured with here, with their further indexes.",
    )
    extra_index_urls: tuple[IndexUrl, ...] = Field(
        default=(), description="Further indexes, which come first: a package is taken from the first that has it."
    )
    find_links: tuple[IndexUrl | FilePath, ...] = Field(
        default=(), description="Folders with packages, or pages that link to them, used besides the indexes."
    )
    offline: Flag = Field(
        default=False,
        description="Whether nothing is fetched: packages come from what earlier builds have fetched, from folders, "
        "and from indexes on this host.",
    )
    pythons: tuple[FilePath, ...] = Field(
        default=(), description="Interpreters to choose from besides those that are found, the first that fits."
    )
    python_downloads: Flag = Field(
        default=False, description="Whether uv may download a Python that a plugin asks for and this host has not."
    )
    preload: Flag = Field(
        default=True,
        description="Whether a plugin's zygote imports what the plugin's sources import from outside of its folder, "
        "once, so that workers need not. Off: each worker imports it.",
    )
    keep_time: Annotated[float, Duration("0s", "8760h", "168h")] = Field(
        default=7 * 86_400.0, description="How long an environment is kept that nobody uses."
    )
    download_cache: Annotated[int, Size("0 B", "16 TiB", "4 GiB")] = Field(
        default=4 * 1024**3, description="Packages and pages of indexes that are kept for further builds, all together."
    )
    limits: BuildLimits = Field(
        default_factory=BuildLimits, description="What one build may use. Over it, it is ended."
    )
