"""The effective configuration as YAML: every setting with its meaning, its value, and where that was given.

What is written can be read again and means the same, except that values of hooks' settings that were given in place
are left out: any of them may be a secret, because only the plugin knows which are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

import yaml
from pydantic import BaseModel

from executor.config.confidential import Confidential
from executor.config.effective import explain_limits, reachable_cpu_time
from executor.config.limits import Limits, quantity_of
from executor.config.model import Config
from executor.config.places import KeyPath
from executor.config.references import FromEnv, FromFile, show_value
from executor.config.worker import WorkerSettings

__all__ = ["show_config"]

WIDTH: Final = 100


def show_config(config: Config) -> str:
    """Write the configuration as YAML with comments."""
    return "\n".join(_Writer(config).lines()) + "\n"


class _Writer:
    """Makes lines of YAML; blocks are indented by whoever puts them into another block."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._limits = explain_limits(config, None, "")

    def lines(self) -> Iterator[str]:
        yield "# The effective configuration. `default` marks what nobody has set."
        for name, field in Config.model_fields.items():
            yield ""
            yield from _comment(field.description)
            yield from self._field(self._config, name, ())

    def _section(self, section: BaseModel, path: KeyPath) -> Iterator[str]:
        """Write the fields of a section; where it has levels, those below the top only show what they give."""
        partial = isinstance(section, Limits | WorkerSettings) and len(path) > 1
        for name, field in type(section).model_fields.items():
            if not partial or name in section.model_fields_set:
                yield from _comment(field.description)
                yield from self._field(section, name, path)

    def _field(self, section: BaseModel, name: str, path: KeyPath) -> Iterator[str]:
        value, path = getattr(section, name), (*path, name)
        if isinstance(value, BaseModel):
            yield from _block(f"{name}:", self._section(value, path), empty="{}")
        elif path == ("plugins",):
            items = (self._item(index) for index in range(len(self._config.plugins)))
            yield from _block(f"{name}:", (line for item in items for line in item), empty="[]")
        elif path == ("hooks",):
            blocks = (self._hook(hook_id) for hook_id in self._config.hooks)
            yield from _block(f"{name}:", (line for block in blocks for line in block), empty="{}")
        elif path[:1] == ("hooks",) and name == "settings":
            yield from _block(f"{name}:", self._settings(value, path), empty="{}")
        else:
            yield self._plain(section, name, path)

    def _plain(self, section: BaseModel, name: str, path: KeyPath) -> str:
        value = section.model_dump(mode="json")[name]
        source = self._config.source
        required = type(section).model_fields[name].is_required()
        origin = str(source.locate(path) if required else source.given(path) or "default")
        given = getattr(section, name)
        if isinstance(given, Confidential) and given.plain:
            return f"# {name}: hidden, given in {origin}"
        if path == ("admin", "port"):
            value = self._config.admin_port
        if path[:1] == ("limits",) and (reason := self._follows(name)):
            return f"# {name}: {reason}"
        return f"{_flow(name)}: {_flow(value)}  # {origin}"

    def _follows(self, name: str) -> str:
        """Tell the value of a general limit that another one decides, and by which; empty when none does.

        Such a limit is left to follow from the other, as whoever reads it again expects; there, it would be refused.
        """
        effective = self._limits[name]
        shown = quantity_of(name).show(effective.value)
        if effective.lowered_to:
            return f"{shown}  # lowered to {effective.lowered_to}"
        if name == "cpu_time" and effective.value > reachable_cpu_time(self._limits):
            return f"{shown}  # not reached: wall_time and cpu_share allow less"
        return ""

    def _item(self, index: int) -> Iterator[str]:
        lines = self._section(self._config.plugins[index], ("plugins", index))
        yield f"-  # {self._config.source.locate(('plugins', index))}"
        yield from textwrap.indent("\n".join(lines), "  ").splitlines()

    def _hook(self, hook_id: str) -> Iterator[str]:
        return _block(f"{_flow(hook_id)}:", self._section(self._config.hooks[hook_id], ("hooks", hook_id)))

    def _settings(self, settings: dict[str, object], path: KeyPath) -> Iterator[str]:
        for name, value in settings.items():
            where = self._config.source.locate((*path, name))
            if isinstance(value, FromEnv | FromFile):
                shown = show_value(self._absolute(value))
                yield f"{_flow(name)}: {_flow(shown)}  # {where}"
            else:
                yield f"# {_flow(name)}: hidden, given in {where}"

    def _absolute(self, value: FromEnv | FromFile) -> FromEnv | FromFile:
        """Make it mean the same wherever it is read again."""
        file = self._config.source.file
        if file is None or isinstance(value, FromEnv):
            return value
        return value.absolute(file.absolute().parent)


def _block(head: str, lines: Iterable[str], *, empty: str = "{}") -> Iterator[str]:
    content = [f"  {line}" for line in lines]
    has_content = any(not line.lstrip().startswith("#") for line in content)
    yield head if has_content else f"{head} {empty}"
    yield from content


def _comment(text: str | None) -> list[str]:
    return textwrap.wrap(text or "", WIDTH, initial_indent="# ", subsequent_indent="# ")


def _flow(value: object) -> str:
    """Write plain data in one line of YAML; texts with line ends and the like are written with escapes."""
    line = _dump(value, None)
    return line if line.isprintable() else _dump(value, '"')


def _dump(value: object, style: str | None) -> str:
    text = yaml.safe_dump([value], default_flow_style=True, default_style=style, width=10**9, sort_keys=False)
    return text.strip().removeprefix("[").removesuffix("]")
