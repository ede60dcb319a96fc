"""`executor plugin package`: make a package of a plugin's folder. It needs neither store nor service."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from executor.catalog.findings import printable
from executor.catalog.plugin import Plugin, load_plugin
from executor.cli.check import describe_errors
from executor.cli.showing import human_bytes
from executor.cli.telling import fail
from executor.errors import ExecutorError, number_of

__all__ = ["PACKAGE_EXAMPLES", "package"]

PACKAGE_EXAMPLES = """
Examples:

  executor plugin package ./my_plugin                      makes my_plugin-0.0.1.difypkg

  executor plugin package ./my_plugin -o cat.difypkg       ... under another name

  executor plugin package ./my_plugin --sign key.pem       ... signed; key.pem holds a private RSA key

What .difyignore names, or else .gitignore, is left out; so are .git, .venv, .env, caches and other packages, always.
The same files give the same package, byte by byte, unless it is signed. Dify can install it as well.
"""


def package(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The plugin's folder.", show_default=False)],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The package. (default: NAME-VERSION.difypkg)"),
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="A private RSA key (PEM) to sign the package with.")
    ] = None,
) -> None:
    """Pack a folder."""
    from executor.packages.checksum import compute_checksum, format_identifier
    from executor.packages.pack import pack_folder
    from executor.packages.signature import load_private_key

    plugin = _load(folder)
    try:
        packed = pack_folder(folder, key=None if sign is None else load_private_key(sign))
        file = output or Path(f"{plugin.name}-{plugin.version}.difypkg")
        _write(file, packed.data)
    except ExecutorError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output or '.'}: the package cannot be written: {error.strerror}")
    checksum = compute_checksum(packed.digests)
    identifier = format_identifier(author=plugin.author, name=plugin.name, version=plugin.version, checksum=checksum)
    signed = ", signed" if sign is not None else ""
    typer.echo(
        f"{printable(str(file))}: {number_of(len(packed.digests), 'file')}, {human_bytes(len(packed.data))}{signed}"
    )
    typer.echo(printable(identifier))


def _load(folder: Path) -> Plugin:
    """Read the plugin that is to be packed; end the command when it could not be served."""
    loaded = load_plugin(folder)
    if loaded.plugin is None:
        fail(*describe_errors(folder, loaded.findings))
    return loaded.plugin


def _write(file: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}-", delete=False) as half:
        try:
            half.write(data)
            half.flush()
            Path(half.name).chmod(0o644)
            Path(half.name).replace(file)
        except BaseException:
            Path(half.name).unlink(missing_ok=True)
            raise
