"""An environment with Dify's real SDK, in build/bench/sdk-venv; made once, by pip, from where pip is set up to look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "SDK_VENV", "SdkError", "provide_sdk_venv", "sdk_version"]

ROOT: Final = Path(__file__).parents[2]
SDK_VENV: Final = ROOT / "build" / "bench" / "sdk-venv"
PACKAGE: Final = "dify_plugin"
VERSION_SCRIPT: Final = f"from importlib.metadata import version; print(version({PACKAGE!r}))"


class SdkError(Exception):
    """The SDK could not be installed; the text says why."""


def provide_sdk_venv(python: str | None) -> Path:
    """Install the SDK, unless it is there already; the interpreter that has it.

    Args:
        python: What the environment is to be made with; None: whatever it is made with, or else our own.

    Raises:
        SdkError: Without a way to the package, for example.
    """
    found = SDK_VENV / "bin" / "python"
    wrong = python is not None and sdk_version() is not None and _python_version(str(found)) != _python_version(python)
    if wrong or sdk_version() is None:
        print(f"installing {PACKAGE} into {SDK_VENV.relative_to(ROOT)}", file=sys.stderr)
        _run([python or sys.executable, "-m", "venv", "--clear", str(SDK_VENV)])
        _run([str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", PACKAGE])
    return found


def sdk_version() -> str | None:
    """Return the version that is installed; None if there is none."""
    try:
        return _run([str(SDK_VENV / "bin" / "python"), "-I", "-c", VERSION_SCRIPT])
    except SdkError:
        return None


def _python_version(python: str) -> str:
    return _run([python, "-I", "-c", "import sys; print(sys.version)"])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SdkError(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SdkError(f"`{' '.join(command[:4])} ...` failed: {last[-1] if last else done.returncode}")
    return done.stdout.strip()
