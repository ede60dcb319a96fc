"""`executor init`: begin a new plugin."""

from __future__ import annotations

import getpass
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from executor.authoring.scaffold import AUTHOR, NAME, NewPlugin, ScaffoldError, render_files, suggest, write_plugin
from executor.cli.telling import fail

__all__ = ["init", "register"]

EXAMPLES = """
Examples:

  executor init my_plugin                               asks for what it needs, with defaults

  executor init my_plugin --author ada --yes            asks nothing

What is written passes `executor check --load`, and runs in Dify as it is: a manifest, a group with two settings, three
endpoints (values from the path, a stream, a webhook with JSON and a secret), a test, a README that tells what to do.
Nothing that is there already is overwritten.
"""


def register(app: typer.Typer, about: str) -> None:
    """Add the command to the program."""
    app.command("init", help=about, epilog=EXAMPLES)(init)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to; made if it is not there.", show_default=False)
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The plugin's name: a-z, 0-9, _ and -. (default: from the folder)"),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who publishes it: a-z, 0-9, _ and -. (default: your user's name)"),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Its name for people. (default: from the name)")
    ] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it does, in one line.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take the defaults.")] = False,
) -> None:
    """Write a new plugin."""
    asking = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    try:
        default = suggest(folder.resolve().name, "my_plugin")
        name = _choose("Name", name, default, NAME.check, asking=asking)
        author = _choose("Author", author, suggest(_user(), "me"), AUTHOR.check, asking=asking)
        label = _choose("Label", label, name.replace("_", " ").replace("-", " ").title(), str, asking=asking)
        description = _choose("Description", description, "A plugin with endpoints.", str, asking=asking)
        plugin = NewPlugin(name=name, author=author, label=label, description=description)
        files = render_files(plugin)
        write_plugin(folder, files)
    except ScaffoldError as error:
        fail(str(error))
    shown = shlex.quote(str(folder))
    print(f"Wrote {len(files)} files to {folder}. Next:")
    print(f"  executor check {shown} --load          find every mistake, with file and line")
    print(f"  executor call {shown} GET /hello/Ada   call an endpoint, without a server")
    print(f"  executor dev {shown}                   serve it, and reload on every change")


def _choose(what: str, given: str | None, default: str, check: Callable[[str], str], *, asking: bool) -> str:
    """Take what was given, or what is answered, or the default."""
    if given is not None:
        return check(given)
    while asking:
        answer: str = typer.prompt(what, default=default, err=True)
        try:
            return check(answer)
        except ScaffoldError as error:
            print(f"  {error}", file=sys.stderr)
    return check(default)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user has no name
        return ""
