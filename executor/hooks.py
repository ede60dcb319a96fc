"""Hooks, ready to be served: each configured hook bound to its plugin, with resolved settings and effective limits."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from executor.catalog.findings import Finding, printable, shorten
from executor.catalog.plugin import Plugin, load_plugin
from executor.catalog.routing import Router
from executor.catalog.settings import resolve_settings
from executor.config.effective import effective_limits, effective_worker
from executor.config.limits import Limits
from executor.config.model import Config
from executor.config.places import ConfigError, Place, Problem
from executor.config.worker import WorkerSettings
from executor.environments.choice import find_python, wants_own
from executor.environments.environment import Environment, EnvironmentUnfitError, find_environment

__all__ = [
    "Bound",
    "BoundHook",
    "HookParts",
    "Paired",
    "advise_setting",
    "bind_hook",
    "bind_hooks",
    "describe_unknown",
    "finding_problem",
    "pair_hooks",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundHook:
    """One hook as it is served.

    Attributes:
        hook_id: The part of the URL after `/e/`.
        plugin: Whose endpoints it serves.
        router: Finds the endpoint for a method and a path.
        settings: Values for `_invoke`, with defaults filled in. Secret; never changed.
        limits: What holds for its invocations.
        worker: How long its workers live.
        enabled: Whether requests are served.
        tenant_id: Whose it is; that of the configuration if not given.
    """

    hook_id: str
    plugin: Plugin
    router: Router
    settings: dict[str, object]
    limits: Limits
    enabled: bool
    tenant_id: str | None = None
    worker: WorkerSettings = field(default_factory=WorkerSettings)


class HookParts:
    """What hooks of one plugin have in common, made once: there may be a hundred thousand of them.

    Args:
        config: The configuration. The plugins that are asked for have different folders.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._routers: dict[Path, Router] = {}
        self._limits: dict[Path, tuple[Limits, WorkerSettings]] = {}

    def router(self, plugin: Plugin) -> Router:
        """Return what finds the endpoints of a plugin."""
        router = self._routers.get(plugin.root)
        if router is None:
            router = self._routers[plugin.root] = Router(plugin.endpoints, mode=self.config.compat.routing)
        return router

    def limits(self, plugin: Plugin, hook_id: str) -> tuple[Limits, WorkerSettings]:
        """Return what holds for the invocations of a hook, and for its workers."""
        own = self.config.hooks.get(hook_id)
        if own is not None and (own.limits.model_fields_set or own.worker.model_fields_set):
            return self._join(plugin, hook_id)
        joined = self._limits.get(plugin.root)
        if joined is None:
            joined = self._limits[plugin.root] = self._join(plugin, hook_id)
        return joined

    def _join(self, plugin: Plugin, hook_id: str) -> tuple[Limits, WorkerSettings]:
        hint = plugin.memory_hint_bytes
        return (
            effective_limits(self.config, plugin.root, hook_id, memory_hint_bytes=hint),
            effective_worker(self.config, plugin.root, hook_id),
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """Hooks that are served, or should be.

    Attributes:
        plugins: Those that serve them, each version once.
        hooks: By hook id.
        warnings: Findings that do not stop the start, one sentence each.
        failed: Why hooks that are installed are not served as they should be, by hook id.
        own: Folders of plugins whose environment has to be built, unless it is there.
    """

    plugins: tuple[Plugin, ...] = ()
    hooks: Mapping[str, BoundHook] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[Path] = frozenset()

    def with_plugins(self, plugins: Collection[Plugin]) -> Bound:
        """The same with other plugins in the same folders."""
        found = {plugin.root: plugin for plugin in plugins}
        hooks = {hook_id: replace(hook, plugin=found[hook.plugin.root]) for hook_id, hook in self.hooks.items()}
        return replace(self, plugins=tuple(plugins), hooks=hooks)


@dataclass(frozen=True, slots=True)
class Paired:
    """The hooks of a configuration with their plugins, before anything else about them is looked at.

    Attributes:
        plugins: By manifest name.
        hooks: The plugin of each hook whose plugin is there, by hook id.
        problems: Plugins that cannot be served, and hooks without a plugin.
        warnings: Findings that do not stop the start, one sentence each.
    """

    plugins: Mapping[str, Plugin]
    hooks: Mapping[str, Plugin]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def pair_hooks(config: Config) -> Paired:
    """Load the configured plugins and find the plugin of each hook.

    A plugin that no configured hook names gets a hook of its own, whose id is the plugin's name.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    plugins = _load_plugins(config, problems, warnings)
    unread = {Path(source.path).name for source in config.plugins} - {plugin.root.name for plugin in plugins.values()}
    wanted = {hook_id: hook.plugin or hook_id for hook_id, hook in config.hooks.items()}
    for name in plugins:
        if name not in wanted.values():
            wanted.setdefault(name, name)
    hooks: dict[str, Plugin] = {}
    for hook_id, name in wanted.items():
        plugin = plugins.get(name)
        if plugin is None and name in unread:
            continue  # most folders have their plugin's name; what is wrong with this one has been said
        if plugin is None:
            problems.append(_unknown_plugin(config, hook_id, name, plugins))
        else:
            hooks[hook_id] = plugin
    return Paired(plugins, hooks, tuple(problems), tuple(warnings))


def bind_hooks(config: Config) -> Bound:
    """Load the configured plugins and bind the hooks to them, those included that `pair_hooks` makes.

    Raises:
        ConfigError: Something is missing or invalid; all of it is told at once.
    """
    paired = pair_hooks(config)
    problems = list(paired.problems)
    parts = HookParts(config)
    hooks = {hook_id: bind_hook(parts, hook_id, plugin, problems) for hook_id, plugin in paired.hooks.items()}
    if problems:
        raise ConfigError(tuple(problems))
    own = _find_own(config, paired.plugins.values())
    warnings = (*paired.warnings, *_unknown_settings(config, paired.hooks))
    return Bound(tuple(paired.plugins.values()), hooks, warnings, own=own)


def _unknown_settings(config: Config, hooks: Mapping[str, Plugin]) -> Iterator[str]:
    """Warn of values that no setting is declared for: most of them are slips of the pen."""
    for hook_id, plugin in hooks.items():
        known = [setting.name for setting in plugin.settings]
        for name in config.hooks[hook_id].values if hook_id in config.hooks else ():
            if name not in known:
                place = config.source.locate(("hooks", hook_id, "settings", name), key=True)
                yield printable(f"{place}: {describe_unknown(name, known)}")


def describe_unknown(name: str, known: Sequence[str]) -> str:
    """Say that a plugin does not declare a setting, and which one may have been meant."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"
    return f"the plugin declares no setting {shorten(name)}; {hint}"


def _load_plugins(config: Config, problems: list[Problem], warnings: list[str]) -> dict[str, Plugin]:
    plugins: dict[str, Plugin] = {}
    for index, source in enumerate(config.plugins):
        environment = _find_environment(config, index, problems)
        loaded = load_plugin(source.path, environment, python=_find_python(config, index))
        for finding in loaded.findings:
            if finding.severity == "error":
                problems.append(finding_problem(source.path, finding))
            else:
                warnings.append(f"{source.path}: {finding}")
        plugin = loaded.plugin
        if plugin is None:
            continue
        if plugin.name in plugins:
            text = f"two plugins are named {plugin.name!r}: {plugins[plugin.name].root} and {plugin.root}"
            problems.append(Problem(name="plugins", place=Place(), found=plugin.name, expected="", message=text))
        plugins[plugin.name] = plugin
    return plugins


def _find_own(config: Config, plugins: Collection[Plugin]) -> frozenset[Path]:
    """Find the plugins that get an environment of their own, which is built from their files; their folders."""
    places = {Path(os.path.realpath(source.path)): source.environment for source in config.plugins}
    default = config.environments.default
    found = set()
    for plugin in plugins:
        place = places.get(plugin.root)
        if not isinstance(place, Path) and wants_own(plugin.root, place, default):
            found.add(plugin.root)
    return frozenset(found)


def _find_python(config: Config, index: int) -> str:
    """Tell which version of Python will run a plugin that gets an environment of its own; nothing for others."""
    source = config.plugins[index]
    if isinstance(source.environment, Path):
        return ""
    return find_python(source.path, config.environments, source.environment)


def _find_environment(config: Config, index: int, problems: list[Problem]) -> Environment | None:
    """Look at the environment of a configured plugin, if it has one."""
    folder = config.plugins[index].environment
    if not isinstance(folder, Path):
        return None
    try:
        return find_environment(folder)
    except EnvironmentUnfitError as error:
        problems.append(
            Problem(
                name=f"plugins.{index}.environment",
                place=config.source.locate(("plugins", index, "environment")),
                found=str(folder),
                expected="a virtual environment",
                message=str(error),
            )
        )
        return None


def advise_setting(hook_id: str, name: str, form: str) -> str:
    """Say how a setting can be given to a service; the form is that of the option, `=VALUE` or `:=JSON`."""
    return f"Give it with --set {hook_id}.{name}{form}, or in the configuration as hooks.{hook_id}.settings.{name}"


def bind_hook(
    parts: HookParts,
    hook_id: str,
    plugin: Plugin,
    problems: list[Problem],
    *,
    advise: Callable[[str, str, str], str] = advise_setting,
) -> BoundHook:
    """Bind one hook to its plugin.

    Args:
        parts: What it has in common with others; the hook need not be in the configuration.
        hook_id: Of the hook.
        plugin: Whose endpoints it serves.
        problems: Takes what is wrong with the settings; the hook must not be served then.
        advise: Says how a setting can be given, by the hook's id, the setting's name, and `=VALUE` or `:=JSON`.
    """
    config = parts.config
    configured = config.hooks.get(hook_id)
    resolved = resolve_settings(plugin.settings, configured.values if configured else {})
    maps = {setting.name for setting in plugin.settings if setting.is_structured}
    for problem in resolved.problems:
        form = ":=JSON" if problem.name in maps else "=VALUE"
        name = f"hooks.{hook_id}.settings.{problem.name}"
        problems.append(
            Problem(
                name=name,
                place=_place_setting(config, hook_id, problem.name),
                found=problem.found,
                expected=problem.expected,
                message=f"{problem.message}. {advise(hook_id, problem.name, form)}",
            )
        )
    limits, worker = parts.limits(plugin, hook_id)
    return BoundHook(
        hook_id=hook_id,
        plugin=plugin,
        router=parts.router(plugin),
        settings=resolved.values,
        limits=limits,
        worker=worker,
        enabled=configured.enabled if configured else True,
    )


def _place_setting(config: Config, hook_id: str, name: str) -> Place:
    """Find where a setting was given, or its hook in the file. The option for another setting is no place for it."""
    path = ("hooks", hook_id, "settings", name)
    place = config.source.locate(path)
    return place if place.file is not None or config.source.given(path) is not None else Place()


def _unknown_plugin(config: Config, hook_id: str, name: str, plugins: Mapping[str, Plugin]) -> Problem:
    known = ", ".join(sorted(plugins)) or "none"
    return Problem(
        name=f"hooks.{hook_id}.plugin",
        place=config.source.locate(("hooks", hook_id)),
        found=name,
        expected=f"one of: {known}",
        message=f"there is no plugin named {name!r} among the served ones ({known}); add its folder to `plugins`",
    )


def finding_problem(root: Path, finding: Finding) -> Problem:
    """Say what is wrong with a plugin as a problem of the configuration that names the plugin's folder."""
    return Problem(
        name="",
        place=Place(file=root / finding.file, line=finding.line, column=finding.column),
        found=finding.found,
        expected=finding.expected,
        message=f"{finding.message} [{finding.code}]",
    )
