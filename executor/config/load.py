"""Reading the configuration: file, command line, validation, references to secrets; all problems at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from executor.config.checks import check_config, check_values
from executor.config.complaints import explain_validation
from executor.config.document import read_document
from executor.config.model import Config
from executor.config.overrides import Overrides, apply_overrides
from executor.config.places import ConfigError, Problem, Source, dotted
from executor.config.references import ResolveError, read_value, resolve

__all__ = ["load_config", "parse_config"]


def load_config(file: Path | None, overrides: Overrides | None = None, *, with_values: bool = True) -> Config:
    """Read the configuration and everything that it refers to, except the plugins.

    Args:
        file: A YAML file; `None` for defaults and overrides alone.
        overrides: Options of the command line; they win over the file.
        with_values: Whether the values of hooks' settings are fetched; who asks something else may not have them.

    Returns:
        A valid configuration. Its `notes` tell what is worth saying.

    Raises:
        ConfigError: Anything is wrong; it holds every problem that could be found.
    """
    source = read_document(file) if file is not None else Source()
    return parse_config(source, overrides, with_values=with_values)


def parse_config(source: Source, overrides: Overrides | None = None, *, with_values: bool = True) -> Config:
    """Like `load_config`, for a document that was read already."""
    source, problems = apply_overrides(source, overrides or Overrides())
    problems += source.problems
    base = source.file.absolute().parent if source.file is not None else Path.cwd()
    try:
        config = Config.model_validate(source.data, context={"base": base})
    except ValidationError as error:
        problems += explain_validation(error, source, Config)
        _raise_if_any(problems + (_unresolved(source, base) if with_values else []))
        raise
    config._source = source  # noqa: SLF001 - private to the package: set here, once
    problems += check_config(config)
    for hook_id, hook in config.hooks.items() if with_values else ():
        values, unresolved = _resolve_all(source, hook_id, hook.settings, base)
        problems += unresolved or check_values(config, hook_id, values)
        hook._values = values  # noqa: SLF001
    _raise_if_any(problem for problem in problems if problem.severity == "error")
    config._notes = tuple(problem for problem in problems if problem.severity != "error")  # noqa: SLF001
    return config


def _raise_if_any(problems: Iterable[Problem]) -> None:
    found = sorted(problems, key=lambda problem: (problem.place.line or 0, problem.place.column or 0))
    if found:
        raise ConfigError(tuple(found))


def _unresolved(source: Source, base: Path) -> list[Problem]:
    """Find references that lead nowhere, in a document that is not valid otherwise."""
    problems: list[Problem] = []
    for hook_id, hook in _mapping(source.data.get("hooks")).items():
        settings = _mapping(_mapping(hook).get("settings"))
        readable: dict[str, object] = {}
        for name, value in settings.items():
            with contextlib.suppress(PydanticCustomError):
                readable[str(name)] = read_value(value)
        problems += _resolve_all(source, str(hook_id), readable, base)[1]
    return problems


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}


def _resolve_all(
    source: Source, hook_id: str, settings: Mapping[str, object], base: Path
) -> tuple[dict[str, object], list[Problem]]:
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for name, value in settings.items():
        try:
            values[name] = resolve(value, base)
        except ResolveError as error:
            path = ("hooks", hook_id, "settings", name)
            problems.append(
                Problem(
                    name=dotted(path),
                    place=source.locate(path),
                    found=error.found,
                    expected=error.expected,
                    message=str(error),
                )
            )
    return values, problems
