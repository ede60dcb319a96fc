"""The command line: one module for each command, put together by `main`."""

from executor.cli.main import main

__all__ = ["main"]
