"""`executor serve`: run the service in the foreground."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop

from executor.config.load import load_config
from executor.config.model import Config
from executor.config.overrides import Overrides
from executor.config.places import ConfigError
from executor.errors import ExecutorError
from executor.figures.log import configure_logging
from executor.hooks import Bound, bind_hooks
from executor.notify import write_ready_file
from executor.service import Addresses, Service

__all__ = ["endpoint_table", "register", "serve"]

log = structlog.get_logger("executor.config")

EXAMPLES = """
Examples:

  executor serve ./my_plugin                            serve one plugin folder as hook <manifest name>

  executor serve ./my_plugin --set my_plugin.token=abc  ... with a value for its setting `token`

  executor serve --config executor.yaml                 serve what a configuration file says

Every endpoint is then at http://HOST:PORT/e/<hook_id>/<path>. SIGHUP reads the configuration and the plugins
again; SIGTERM lets running requests finish and then ends the service.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("serve", help="Serve the endpoints of Dify plugins over HTTP.", epilog=EXAMPLES)(serve)


def serve(
    plugins: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PLUGIN", help="Plugin folders, each with a manifest.yaml.", show_default=False),
    ] = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on. (default: 127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the hooks; 0 picks a free one. (default: 8080)")] = None,
    admin_port: Annotated[
        int | None,
        typer.Option(help="Port of metrics, health and workers, on loopback. (default: the port after --port)"),
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (YAML).")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for state. (default: in $XDG_STATE_HOME)")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="HOOK.NAME=VALUE", help="A value for a setting of a hook; may be repeated."),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the addresses to this file (JSON) when requests are served."),
    ] = None,
    debug: Annotated[
        bool | None, typer.Option("--debug", help="Show errors and tracebacks of endpoints to clients.")
    ] = None,
) -> None:
    """Serve until a signal says otherwise."""
    overrides = Overrides(
        host=host,
        port=port,
        admin_port=admin_port,
        state_dir=state_dir,
        debug=debug,
        plugins=tuple(plugins or ()),
        settings=tuple(settings or ()),
    )

    def load() -> Config:
        return load_config(config, overrides)

    try:
        loaded = load()
        bound = bind_hooks(loaded)
        if not bound.hooks:
            raise ExecutorError("there is nothing to serve: name a plugin folder (`executor serve PLUGIN`) or --config")
        configure_logging(log_format=loaded.log.format, level=loaded.log.level)
        for note in loaded.notes:
            log.info("config.note", note=str(note))
        _run(loaded, bound, load, ready_file)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(1) from None
    except ExecutorError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_status) from None


def _run(config: Config, bound: Bound, load: Callable[[], Config], ready_file: Path | None) -> None:
    def on_ready(addresses: Addresses, bound: Bound) -> None:
        print(endpoint_table(addresses, bound), flush=True)
        if ready_file is not None:
            write_ready_file(ready_file, {"public": addresses.public, "admin": addresses.admin, "pid": os.getpid()})

    async def serve_until_stopped() -> None:
        await Service(config, bound, reload=load, on_ready=on_ready).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped())


def endpoint_table(addresses: Addresses, bound: Bound) -> str:
    """List every method and full URL, a line each, aligned and without colours: made to be copied from."""
    rows = [
        (endpoint.method, f"{addresses.public}/e/{hook.hook_id}{endpoint.path}")
        for hook in bound.hooks.values()
        if hook.enabled
        for endpoint in hook.plugin.endpoints
    ]
    width = max((len(method) for method, _ in rows), default=0)
    lines = [f"  {method:<{width}}  {url}" for method, url in rows]
    return "\n".join(["Serving:", *lines, f"Metrics, health and workers: {addresses.admin}"])
