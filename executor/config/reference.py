"""The documentation of the settings, made from their declarations: `docs/settings.md`, and the JSON Schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from executor.config.confidential import Confidential
from executor.config.isolation import Isolation
from executor.config.limits import Limits
from executor.config.model import Config, Hook, PluginSource
from executor.config.reverse_targets import OpenAiApp
from executor.config.texts import Text
from executor.config.units import Quantity
from executor.config.worker import WorkerSettings
from executor.isolation.layers import LAYERS

__all__ = ["render_reference", "render_schema"]

INTRODUCTION: Final = """\
<!-- Made by `executor config reference`. Change executor/config/, not this file. -->

# Settings

`executor serve --config executor.yaml` reads a YAML file; everything in it is optional. `executor config check FILE`
tells what is wrong with one, all at once and with line and column. `executor config show --config FILE` prints what
holds, with the origin of every value. `executor config schema` prints a JSON Schema for editors.

```yaml
listen:
  port: 8080
plugins:
  - path: ./rainbow_cat
    limits:
      wall_time: 2m
hooks:
  cat:                          # http://127.0.0.1:8080/e/cat/
    plugin: rainbow_cat         # the name in its manifest
    settings:
      colour: pink
      secret: {from_env: CAT_SECRET}
      key: {from_file: secrets/cat.pem}
    limits:
      concurrency: 8
```

- **Durations** have a unit: `500ms`, `30s`, `2m`, `1h`, `1h30m`. A plain number means seconds.
- **Sizes** have a unit, binary (`KiB`, `MiB`, `GiB`, `TiB`) or decimal (`kB`, `MB`, `GB`, `TB`): `128 MiB`. A plain
  integer means bytes.
- **Relative paths** start at the folder of the configuration file; `~` is the home folder.
- **Unknown and repeated keys** are errors.
- **The command line** wins over the file. Plugins named there are served besides those of the file, relative to the
  working directory. `--set HOOK.NAME=VALUE` gives the value of a hook's setting as a text, just as it stands; the
  plugin's declaration makes a boolean of `true` or `0` where it says so. `--set 'HOOK.NAME:=JSON'` gives any other
  value, such as a map or `{"from_env": "NAME"}`. The hook's id ends at the first dot.
- **References**, `{from_env: NAME}` and `{from_file: PATH}`, are resolved when the configuration is loaded and again
  when it is reloaded (SIGHUP). One line end at the end of a file does not count. Values of hooks' settings never
  appear in messages, logs or `executor config show`.
- **Secrets of the executor itself** are a text, or one of these references, or `{from_command: [PROGRAM, ARGUMENT...]}`
  for what a program prints. They are fetched when they are needed, and never shown either.
- **Shares of CPUs** are plain numbers: `1` is one CPU all the time, `0.5` half of one.
- **Limits have levels**: `limits` for all hooks, `limits` of a plugin, `limits` of a hook. Each may give any of them;
  the most specific level wins. `executor limits HOOK` prints what holds, where it was given, and what enforces it on
  this machine.
- **`worker` has the same levels**: the section itself, `worker` of a plugin, `worker` of a hook.
- **A plugin's manifest** can lower `memory`: where neither the plugin's `limits` nor the hook's give it, it is at most
  `resource.memory`, but not less than 256 MiB on that account; real manifests name less than Python itself needs.
- **Limits that hold each other**: `first_byte_time` and `idle_time` are never longer than `wall_time`, `file_size` is
  never larger than `scratch_size`, nor that than `memory`. Where the second is lowered on a more specific level, the
  first follows; on the same level the combination is an error, and so is a `cpu_time` of more than `wall_time` times
  `cpu_share`.
- **A plugin without a hook** gets one whose id is the plugin's name.
"""

REPEATED: Final[dict[type[BaseModel], str]] = {
    OpenAiApp: "reverse.openai.apps.<app id>",
    PluginSource: "plugins[]",
    Hook: "hooks.<hook id>",
}
"""Sections of which there are several, and how they are called."""

KINDS: Final[dict[Any, str]] = {
    bool: "`true` or `false`",
    Path: "a path",
    Confidential: "a secret: a text or a reference",
    Limits: "a map, see `limits`",
    WorkerSettings: "a map, see `worker`",
    PluginSource: "a path, or a map, see `plugins[]`",
}


def render_reference() -> str:
    """Write `docs/settings.md`."""
    return "\n".join([INTRODUCTION, *_chapters()])


def render_schema() -> dict[str, Any]:
    """Make the JSON Schema of a configuration file."""
    schema = Config.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Configuration of endpoint-executor",
    }


def _chapters() -> Iterator[str]:
    plain = {name: field for name, field in Config.model_fields.items() if not _section_of(field.annotation)}
    yield from _chapter("At the top", "", plain, "")
    for name, field in Config.model_fields.items():
        section = _section_of(field.annotation)
        if section is not None:
            yield from _chapter(f"`{name}`", field.description or "", section.model_fields, f"{name}.")
        if section is Isolation:
            yield from _layers()
    for section, prefix in REPEATED.items():
        yield from _chapter(f"`{prefix}`", section.__doc__ or "", section.model_fields, f"{prefix}.")


def _chapter(title: str, text: str, fields: dict[str, FieldInfo], prefix: str) -> Iterator[str]:
    yield f"## {title}\n"
    if text:
        yield f"{inspect.cleandoc(text)}\n"  # of a docstring, whose indentation Python keeps before 3.13
    yield "| setting | value | default | meaning |"
    yield "|---|---|---|---|"
    yield from _rows(fields, prefix)
    yield ""


def _layers() -> Iterator[str]:
    """List the layers of isolation, which settings name."""
    yield "The layers, in the order in which they are applied:\n"
    yield "| layer | by default | meaning | protects |"
    yield "|---|---|---|---|"
    for layer in LAYERS:
        default = "always on" if layer.structural else "required" if layer.required else "used where the host has it"
        yield f"| `{layer.name}` | {default} | {layer.meaning} | {layer.protects} |"
    yield ""


def _rows(fields: dict[str, FieldInfo], prefix: str) -> Iterator[str]:
    """Make a row of each setting; those of a section within the section follow it."""
    for name, field in fields.items():
        cells = (f"`{prefix}{name}`", _kind(field.annotation, field.metadata), _default(field), field.description)
        yield "| " + " | ".join((cell or "").replace("|", "\\|") for cell in cells) + " |"
        section = _section_of(field.annotation)
        if section is not None and section is not Limits:
            yield from _rows(section.model_fields, f"{prefix}{name}.")


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) in {Union, UnionType}:
        return next((found for part in get_args(annotation) if (found := _section_of(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _kind(annotation: Any, metadata: Iterable[object] = ()) -> str:
    """Say what values are accepted."""
    for item in metadata:
        if isinstance(item, Quantity):
            return f"{item.kind}, {item.range}"
        if isinstance(item, Text):
            return item.expectation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], arguments[1:])
    if origin in {Union, UnionType}:
        return " or ".join(dict.fromkeys(_kind(part) for part in arguments if part is not NoneType))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"a list of: {_kind(arguments[0])}"
    if origin is dict or (annotation not in KINDS and _section_of(annotation) is not None):
        return "a map"
    return KINDS[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default() if field.default_factory is None else None
    if default is None:
        return "-"
    for item in field.metadata:
        if isinstance(item, Quantity):
            return f"`{item.show(default)}`"
    return f"`{json.dumps(default)}`" if not isinstance(default, str) else f"`{default}`"
