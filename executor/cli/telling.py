"""Telling what is wrong, and ending the command."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn

import typer

from executor.catalog.findings import printable
from executor.config.places import ConfigError
from executor.errors import ExecutorError

__all__ = ["confirm", "fail", "printable_lines", "tell_errors"]


def printable_lines(text: str) -> str:
    """Escape what a terminal might take for a command, line by line."""
    return "\n".join(printable(line) for line in text.splitlines())


def fail(*problems: str, status: int = 1) -> NoReturn:
    """Tell what is wrong, a line each, and end the command."""
    for problem in problems:
        print(f"error: {printable_lines(problem)}", file=sys.stderr)
    raise typer.Exit(status)


def confirm(question: str) -> None:
    """Ask whether to go on; end the command where the answer is no, or there is none, before anything was done."""
    try:
        agreed = typer.confirm(printable_lines(question), err=True)
    except typer.Abort:  # nobody is there to answer
        print(file=sys.stderr)
        agreed = False
    if not agreed:
        fail("not confirmed, so nothing was done; --yes asks nothing")


@contextlib.contextmanager
def tell_errors() -> Iterator[None]:
    """Have errors within told, a line each; they end the command with their status, or 1."""
    try:
        yield
    except ConfigError as error:
        fail(*(str(problem) for problem in error.problems))
    except ExecutorError as error:
        fail(*str(error).splitlines(), status=error.exit_status)
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", status=130)
