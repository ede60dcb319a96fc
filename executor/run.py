"""From a command line to a running service: configuration, log, event loop, and what is told to the user."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Collection
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

import structlog
import uvloop

from executor.config.load import load_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError
from executor.errors import ExecutorError, StartupError
from executor.figures.log import configure_logging
from executor.hooks import Bound, bind_hooks
from executor.notify import write_ready_file
from executor.service import Addresses, Service

__all__ = ["endpoint_table", "list_commands", "run_service", "write_addresses"]

log = structlog.get_logger("executor.config")

NOTHING: Final = """\
  nothing yet; what is added in another terminal is served at once, without a restart:
    executor plugin install PACKAGE{options}
    executor hook create NAME{options}"""
NONE_CAN_BE: Final = "  nothing, for no hook can be served; the log says why"

MOST_LISTED: Final = 20
"""Addresses that are listed at the start: what fits on a screen. There may be a hundred thousand hooks."""


def run_service(config_file: Path | None, overrides: Overrides, *, ready_file: Path | None) -> None:
    """Run the service until a signal ends it.

    Args:
        config_file: Configuration; `None` for defaults and overrides alone.
        overrides: Options of the command line.
        ready_file: Written when requests are served.

    Raises:
        SystemExit: The service could not start; every reason was printed to standard error.
    """

    def load() -> Config:
        return load_config(config_file, overrides)

    def on_ready(addresses: Addresses, bound: Bound) -> None:
        options = _store_options(config_file, overrides)
        more = list_commands(bound, config, config_file, options)
        print(endpoint_table(addresses, bound, options, more), flush=True)
        if ready_file is not None:
            write_addresses(ready_file, addresses)

    try:
        config = load()
        bound = bind_hooks(config)
        configure_logging(log_format=config.log.format, level=config.log.level)
        for note in config.notes:
            (log.warning if note.severity == "warning" else log.info)("config.note", note=str(note))
        _run(config, bound, load, on_ready)
    except ConfigError as error:
        _exit(1, *(str(problem) for problem in error.problems))
    except ExecutorError as error:
        _exit(error.exit_status, *str(error).splitlines())


def endpoint_table(addresses: Addresses, bound: Bound, options: str = "", more: Collection[str] = ()) -> str:
    """List methods and full URLs, a line each, aligned and without colours: made to be copied from.

    Args:
        addresses: Of the service.
        bound: What it serves.
        options: What commands must be given to change its store, from the space before on; they are listed where
            nothing is served.
        more: Commands that list what is served; they are told where there is more than MOST_LISTED.
    """
    hooks = [hook for hook in bound.hooks.values() if hook.enabled]
    number = sum(len(hook.plugin.endpoints) for hook in hooks)
    rows = [
        (endpoint.method, f"{addresses.public}/e/{hook.hook_id}{endpoint.path}")
        for hook, endpoint in islice(((hook, one) for hook in hooks for one in hook.plugin.endpoints), MOST_LISTED)
    ]
    width = max((len(method) for method, _ in rows), default=0)
    nothing = NONE_CAN_BE if bound.failed else NOTHING.format(options=options)
    lines = [f"  {method:<{width}}  {url}" for method, url in rows] or [nothing]
    if number > len(rows):
        lines.append(f"  and {number - len(rows):,} more of {number:,}; to list all of them:")
        lines += [f"    {command}" for command in more]
    return "\n".join(["Serving:", *lines, f"Metrics, health and workers: {addresses.admin}"])


def list_commands(bound: Bound, config: Config, config_file: Path | None, options: str) -> list[str]:
    """Tell with which commands everything that is served can be listed: installed, configured, or given as a folder."""
    folders = {Path(os.path.realpath(source.path)) for source in config.plugins}
    commands = []
    if any(plugin.root not in folders for plugin in bound.plugins):
        commands.append(f"executor hook list{options}")
    if folders and config_file is not None:
        commands.append(f"executor config show --config {shlex.quote(str(config_file.absolute()))}")
    elif folders:
        commands.append("executor check PLUGIN... --format json")
    return commands


def _store_options(config_file: Path | None, overrides: Overrides) -> str:
    """Write the options with which other commands find the same store, from any folder."""
    given = (("--config", config_file), ("--state-dir", overrides.state_dir))
    return "".join(f" {option} {shlex.quote(str(path.absolute()))}" for option, path in given if path is not None)


def _run(
    config: Config, bound: Bound, load: Callable[[], Config], on_ready: Callable[[Addresses, Bound], None]
) -> None:
    async def serve_until_stopped() -> None:
        await Service(config, bound, reload=load, on_ready=on_ready).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped())


def write_addresses(path: Path, addresses: Addresses) -> None:
    """Write where the service can be reached to a file.

    Raises:
        StartupError: It cannot be written.
    """
    try:
        write_ready_file(path, {"public": addresses.public, "admin": addresses.admin, "pid": os.getpid()})
    except OSError as error:
        raise StartupError(f"the ready file {path} cannot be written: {error}") from error


def _exit(status: int, *problems: str) -> NoReturn:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    raise SystemExit(status)
