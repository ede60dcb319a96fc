"""A plugin's folder as its author works on it: the plugin, its settings from wherever they are given, its limits.

Values of settings come, each next one winning over those before, from the configuration file, from
`settings.local.yaml` in the plugin's folder, from `--settings-file`, from questions, and from `--set`. The file in the
folder is for the author alone: it is not part of the plugin, and `executor init` keeps it out of git and of packages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from executor.catalog.findings import printable, shorten
from executor.catalog.plugin import Plugin, load_plugin
from executor.catalog.settings import Setting
from executor.config.document import read_document
from executor.config.environments import EnvironmentChoice
from executor.config.load import parse_config
from executor.config.model import Config
from executor.config.overrides import GivenValue, Overrides
from executor.config.places import ConfigError, KeyPath, Place, Problem, Source
from executor.environments.choice import find_python, wants_own
from executor.environments.environment import Environment, EnvironmentUnfitError, find_environment
from executor.hooks import BoundHook, HookParts, bind_hook, describe_unknown, finding_problem

__all__ = ["LOCAL_SETTINGS", "MissingSettingsError", "Options", "Project", "open_project", "open_settings"]

LOCAL_SETTINGS: Final = "settings.local.yaml"
"""The author's own values of a plugin's settings, in the plugin's folder."""

HOOK_ID: Final = "plugin"
"""The hook of a plugin whose name cannot be a hook's id."""

_SET: Final = re.compile(r"(?P<name>[^=:]+)(?P<kind>:?=)(?P<value>.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?P<fraction>\.[0-9]{1,18})?", re.ASCII)


class MissingSettingsError(ConfigError):
    """Required settings have no value, and nothing else is wrong.

    Attributes:
        settings: Which.
    """

    def __init__(self, problems: tuple[Problem, ...], settings: tuple[Setting, ...]) -> None:
        super().__init__(problems)
        self.settings = settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says about a plugin.

    Attributes:
        folder: Of the plugin, as it was given.
        config_file: A configuration for limits, isolation and the like; other plugins of it do not matter.
        hook_id: The hook of the configuration; empty for the one that there is.
        environment: What workers import from: `own`, `shared`, or a folder; `None` for what is configured.
        settings: Texts of `--set`, `NAME=VALUE` or `NAME:=JSON`.
        settings_file: YAML, a map of names and values.
        answers: Values that were asked for. Secret.
        limits: Texts of `--limit`, `NAME=VALUE`.
        fixtures: File that answers reverse calls, in place of whoever is configured to.
        overrides: What else replaces values of the configuration.
    """

    folder: Path
    config_file: Path | None = None
    hook_id: str = ""
    environment: str | None = None
    settings: tuple[str, ...] = ()
    settings_file: Path | None = None
    answers: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: tuple[str, ...] = ()
    fixtures: Path | None = None
    overrides: Overrides = field(default_factory=Overrides)

    @property
    def settings_files(self) -> tuple[Path, ...]:
        """Files that settings are read from, whether they are there or not; later ones win."""
        return (self.folder / LOCAL_SETTINGS, *((self.settings_file,) if self.settings_file is not None else ()))

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that matter besides the plugin's, whether they are there or not."""
        return (*self.settings_files, *(file for file in (self.config_file, self.fixtures) if file is not None))


@dataclass(frozen=True, slots=True)
class Project:
    """A plugin that can be run.

    Attributes:
        plugin: As it was read.
        hook: It, with settings and limits.
        config: All else.
        warnings: What does not keep it from running, one sentence each.
        own: Whether an environment of its own is to be built, unless it is there.
    """

    plugin: Plugin
    hook: BoundHook
    config: Config
    warnings: tuple[str, ...]
    own: bool = False


def open_project(options: Options, files: Path | None = None) -> Project:
    """Read a plugin and everything that it needs to run.

    Args:
        options: Of the command line.
        files: Where the plugin's files are, when that is a copy of its folder. Messages name the folder.

    Raises:
        ConfigError: Something is missing or invalid; all of it is told at once.
        MissingSettingsError: Only values of settings are missing.
    """
    root = files or options.folder
    base = open_settings(options)
    environment, own, python = _find_environment(options, base, root)
    loaded = load_plugin(root, environment, python=python)
    problems = [finding_problem(options.folder, finding) for finding in loaded.findings if finding.severity == "error"]
    warnings = [str(finding_problem(options.folder, one)) for one in loaded.findings if one.severity == "warning"]
    plugin = loaded.plugin
    if plugin is None or problems:
        raise ConfigError(tuple(problems))
    source = _read_configuration(options)
    hook_id = options.hook_id or _find_hook(source, plugin.name)
    values = list(_given_values(options, hook_id, problems))
    if problems:
        raise ConfigError(tuple(problems))
    document = _only(source, hook_id, options.folder)
    config = parse_config(document, _with_values(options.overrides, plugin, hook_id, values))
    declared = replace(plugin, root=options.folder.resolve())  # limits of a plugin are found by its folder
    hook = replace(bind_hook(HookParts(config), hook_id, declared, problems, advise=_advise), plugin=plugin)
    unknown = tuple(_unknown_settings(plugin, values))
    if problems:
        _refuse(problems, plugin, hook_id, unknown)
    return Project(plugin, hook, config, (*warnings, *map(str, unknown), *map(str, config.notes)), own)


def open_settings(options: Options) -> Config:
    """Read what holds whatever the plugin is.

    Raises:
        ConfigError: Something is invalid.
    """
    return parse_config(_only(_read_configuration(options), None, options.folder), options.overrides)


def _read_configuration(options: Options) -> Source:
    return read_document(options.config_file) if options.config_file is not None else Source()


def _refuse(problems: list[Problem], plugin: Plugin, hook_id: str, unknown: tuple[Problem, ...]) -> None:
    """Tell values that are only missing from those that are wrong; names that nobody knows may be why."""
    prefix = f"hooks.{hook_id}.settings."
    missing = {problem.name.removeprefix(prefix) for problem in problems if problem.found == "nothing"}
    told = (*(_shorter(problem) for problem in problems), *unknown)
    if len(missing) == len(problems) and not unknown:
        raise MissingSettingsError(told, tuple(setting for setting in plugin.settings if setting.name in missing))
    raise ConfigError(told)


def _shorter(problem: Problem) -> Problem:
    """Leave out what the message says, too, and the place of what was not given."""
    return replace(problem, name="", place=Place() if problem.found == "nothing" else problem.place)


def _advise(_: str, name: str, form: str) -> str:
    return f"Give it with --set {name}{form}, or in {LOCAL_SETTINGS} as {name}: VALUE"


def _find_hook(source: Source, name: str) -> str:
    """Find the hook of a plugin: the first one that the configuration has, or one that is named like the plugin."""
    hooks = source.data.get("hooks")
    for hook_id, hook in (hooks if isinstance(hooks, Mapping) else {}).items():
        if (hook.get("plugin", hook_id) if isinstance(hook, Mapping) else hook_id) == name:
            return str(hook_id)
    return name if name[0].isalnum() else HOOK_ID


def _only(source: Source, hook_id: str | None, folder: Path) -> Source:
    """Leave out other hooks and plugins: what they lack does not matter here."""
    data = dict(source.data)
    hooks, plugins = data.get("hooks"), data.pop("plugins", None)
    if isinstance(hooks, Mapping):
        data["hooks"] = {name: hook for name, hook in hooks.items() if name == hook_id}
    base = source.file.absolute().parent if source.file is not None else Path.cwd()
    for index, entry in enumerate(plugins if isinstance(plugins, list) else []):
        path = entry.get("path") if isinstance(entry, Mapping) else entry
        if isinstance(path, str) and (base / Path(path).expanduser()).resolve() == folder.resolve():
            data["plugins"] = [entry]
            keys, values = _only_entry(source.keys, index), _only_entry(source.values, index)
            return Source(source.file, data, keys, values, source.problems)
    return Source(source.file, data, source.keys, source.values, source.problems)


def _only_entry(places: Mapping[KeyPath, Place], index: int) -> dict[KeyPath, Place]:
    """Find the places of one plugin where those of the first one would be."""
    moved = {("plugins", 0, *path[2:]): place for path, place in places.items() if path[:2] == ("plugins", index)}
    return {path: place for path, place in places.items() if path[:1] != ("plugins",)} | moved


def _find_environment(options: Options, config: Config, root: Path) -> tuple[Environment | None, bool, str]:
    """Find what the plugin's workers import from, as the command line or the configuration says.

    Returns:
        (environment, own, python): a virtual environment that is there; or whether one is to be built from the plugin's
        files, and for which version of Python.
    """
    choice = options.environment or next((entry.environment for entry in config.plugins), None)
    if choice is None or choice in {"own", "shared"}:
        named: EnvironmentChoice | None = "own" if choice == "own" else "shared" if choice == "shared" else None
        own = wants_own(root, named, config.environments.default)
        return None, own, find_python(root, config.environments, named) if own else ""
    try:
        return find_environment(Path(choice)), False, ""
    except EnvironmentUnfitError as error:
        origin = Place(origin="--environment" if options.environment else "environment")
        raise ConfigError(
            (Problem(name="", place=origin, found=str(choice), expected="an environment", message=str(error)),)
        ) from error


def _with_values(overrides: Overrides, plugin: Plugin, hook_id: str, values: list[GivenValue]) -> Overrides:
    named = GivenValue(("hooks", hook_id, "plugin"), plugin.name, Place())
    return Overrides(
        host=overrides.host,
        port=overrides.port,
        admin_port=overrides.admin_port,
        state_dir=overrides.state_dir,
        debug=overrides.debug,
        values=(named, *overrides.values, *values),
    )


def _given_values(options: Options, hook_id: str, problems: list[Problem]) -> Iterator[GivenValue]:
    """List all values of settings and limits, the strongest last, and who answers reverse calls."""
    if options.fixtures is not None:
        place = Place(origin="--fixtures")
        yield GivenValue(("reverse", "target"), "fixtures", place)
        yield GivenValue(("reverse", "fixtures"), str(options.fixtures.absolute()), place)
    for file in options.settings_files:
        if file.exists() or file == options.settings_file:
            yield from _read_settings(file, hook_id, problems)
    for name, answer in options.answers.items():
        yield GivenValue(("hooks", hook_id, "settings", name), answer, Place(origin="what was answered"))
    for text in options.settings:
        yield from _read_set(text.removeprefix(f"{hook_id}."), hook_id, problems)
    for text in options.limits:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            problems.append(_bad_option("--limit", text, "NAME=VALUE, such as memory=64MiB"))
        else:
            yield GivenValue(
                ("hooks", hook_id, "limits", name.strip()), _number(value), Place(origin=f"--limit {name}")
            )


def _read_settings(file: Path, hook_id: str, problems: list[Problem]) -> Iterator[GivenValue]:
    try:
        source = read_document(file)
    except ConfigError as error:
        problems.extend(error.problems)
        return
    problems.extend(source.problems)
    for name, value in source.data.items():
        yield GivenValue(("hooks", hook_id, "settings", name), value, source.locate((name,)))


def _read_set(text: str, hook_id: str, problems: list[Problem]) -> Iterator[GivenValue]:
    match = _SET.fullmatch(text)
    if match is None:
        problems.append(_bad_option("--set", text.partition("=")[0], "NAME=VALUE, or NAME:=JSON"))
        return
    value: object = match["value"]
    if match["kind"] == ":=":
        try:
            value = json.loads(match["value"])
        except (ValueError, RecursionError):
            problems.append(_bad_option(f"--set {match['name']}", "a text after := that is not JSON", "JSON"))
            return
    yield GivenValue(("hooks", hook_id, "settings", match["name"]), value, Place(origin=f"--set {match['name']}"))


def _number(text: str) -> object:
    """Read a plain number as YAML would; everything else stays a text."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return text.strip()
    return float(text) if match["fraction"] else int(text)


def _bad_option(option: str, found: str, expected: str) -> Problem:
    found = printable(shorten(found))
    return Problem(
        name="",
        place=Place(origin=option),
        found=found,
        expected=expected,
        message=f"expected {expected}, found {found}",
    )


def _unknown_settings(plugin: Plugin, values: list[GivenValue]) -> Iterator[Problem]:
    """Warn of values that no setting is declared for: most of them are slips of the pen."""
    known = [setting.name for setting in plugin.settings]
    for given in values:
        name = str(given.path[-1])
        if given.path[2:3] == ("settings",) and name not in known:
            message = describe_unknown(name, known)
            yield Problem(
                severity="warning", name="", place=given.place, found=shorten(name), expected="", message=message
            )
