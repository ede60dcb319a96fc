"""`executor serve`: run the service in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from executor.config.overrides import Overrides

__all__ = ["register", "serve"]

EXAMPLES = """
Examples:

  executor serve ./my_plugin                            serve one plugin folder as hook <manifest name>

  executor serve ./my_plugin --set my_plugin.token=abc  ... with a value for its setting `token`

  executor serve --config executor.yaml                 serve what a configuration file says

  executor serve                                        serve what is installed, be it nothing yet

Every endpoint is then at http://HOST:PORT/e/<hook_id>/<path>. SIGHUP reads the configuration and the plugins
again; SIGTERM lets running requests finish and then ends the service.

While it runs, `executor plugin install` and `executor hook create` add to what is served, at once.

A plugin whose pyproject.toml or requirements.txt names more than dify_plugin gets an environment of its own, which is
built at the first start: in a sandbox, from the package index that uv or pip use here.
"""


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("serve", help=about, epilog=EXAMPLES)(serve)


def serve(
    plugins: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PLUGIN", help="Plugin folders, each with a manifest.yaml.", show_default=False),
    ] = None,
    *,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on. (default: 127.0.0.1)")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Port of the hooks; 0 picks a free one. (default: 8080)")
    ] = None,
    admin_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", help="Port of metrics, health and workers, on loopback. (default: the port after --port)"
        ),
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
    shared_environment: Annotated[
        bool,
        typer.Option(
            "--shared-environment", help="Build no environments; plugins get the executor's, with the bundled SDK."
        ),
    ] = False,
) -> None:
    """Serve until a signal says otherwise."""
    overrides = Overrides(
        host=host,
        port=port,
        admin_port=admin_port,
        state_dir=state_dir,
        debug=debug,
        environment="shared" if shared_environment else None,
        plugins=tuple(plugins or ()),
        settings=tuple(settings or ()),
    )

    from executor.run import run_service  # everything that serves; the other commands do not need it

    run_service(config, overrides, ready_file=ready_file)
