"""A state folder with versions of a plugin installed, and the commands that change it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from executor.cli.main import create_app
from tests.executor.catalog.plugins import Edit, edited, write_plugin

__all__ = ["IDENTIFIERS", "Lab", "write_version"]

NEEDS_MORE = """\
settings:
  - name: token
    type: secret-input
    required: true
    label: {en_US: Token}
  - name: size
    type: text-input
    required: true
    label: {en_US: Size}
endpoints:
  - endpoints/cat.yaml
"""
IDENTIFIERS = "tester/cat:{}@"


def write_version(folder: Path, version: str, *, needs_more: bool = False, author: str = "tester") -> Path:
    """Write a version of the plugin; one that needs more has another required setting, and one less."""
    files = edited(Edit("manifest.yaml", "0.0.1", version), Edit("manifest.yaml", "tester", author))
    if needs_more:
        files["group/cat.yaml"] = NEEDS_MORE
    return write_plugin(folder, files)


class Lab:
    """Runs commands about one state folder, in this process.

    Args:
        folder: An empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self._app = create_app()

    def run(self, *arguments: str | Path, stdin: str = "", environment: dict[str, str] | None = None) -> Result:
        """Run a command, whatever comes of it."""
        command = [*map(str, arguments), "--state-dir", str(self.state_dir)]
        runner = CliRunner(env={"COLUMNS": "300", **(environment or {})})
        return runner.invoke(self._app, command, input=stdin)

    def __call__(self, *arguments: str | Path, stdin: str = "", environment: dict[str, str] | None = None) -> str:
        """Run a command that succeeds; what it printed to standard output."""
        result = self.run(*arguments, stdin=stdin, environment=environment)
        assert result.exit_code == 0, (result.stderr, result.exception)
        return result.stdout

    def refuse(self, *arguments: str | Path, stdin: str = "", environment: dict[str, str] | None = None) -> str:
        """Run a command that fails; what it printed to standard error."""
        result = self.run(*arguments, stdin=stdin, environment=environment)
        assert result.exit_code == 1, (result.stdout, result.exception)
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr
        return result.stderr

    def install(self, version: str, *, needs_more: bool = False, author: str = "tester") -> str:
        """Install a version; its identifier."""
        folder = write_version(self.folder / f"{author}-{version}", version, needs_more=needs_more, author=author)
        return self("plugin", "install", folder).splitlines()[0].removeprefix("installed ")
