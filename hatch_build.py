"""Builds what of the project is in C: one small library, which everything works without, only slower."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES: Final = ("worker/native/memory.c", "worker/native/template.c")
LIBRARY: Final = "worker/native/native.so"
FLAGS: Final = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-Wl,-z,now")


class NativeBuildHook(BuildHookInterface[Any]):
    """Compiles the library with the C compiler of the machine (CC, or `cc`), if there is one that can."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the wheel be one for this platform if that worked."""
        del version
        problem = self._compile(Path(self.root))
        if problem:
            self.app.display_warning(f"{LIBRARY} was not built, and workers will cost more: {problem}")
            return
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def _compile(self, root: Path) -> str:
        """Compile; what was wrong, if anything was."""
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if shutil.which(compiler[0]) is None:
            return f"there is no C compiler, {compiler[0]} (Debian, Ubuntu: apt-get install gcc libc6-dev)"
        unfinished = root / f"{LIBRARY}.{os.getpid()}"
        command = [*compiler, *FLAGS, "-o", str(unfinished), *(str(root / source) for source in SOURCES)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            unfinished.unlink(missing_ok=True)
            return f"{shlex.join(command)} failed: {done.stderr.strip()}"
        unfinished.replace(root / LIBRARY)
        return ""
