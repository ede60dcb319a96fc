"""Builds one environment in a process of its own: `python -m tests.sandbox.build_driver TASK`; the answer is JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from executor.config.environments import BuildLimits, EnvironmentSettings
from executor.config.isolation import Isolation
from executor.environments.builder import EnvironmentBuilder
from executor.environments.errors import BuildError
from executor.environments.interpreters import PythonWish, choose_interpreter
from executor.isolation.host import HostIsolation


def main() -> None:
    """Do what the task says."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    settings = EnvironmentSettings(index_url=task["index"], limits=BuildLimits.model_validate(task["limits"]))
    host = HostIsolation(Isolation())
    lines: list[str] = []
    error = target = python = ""
    try:
        with EnvironmentBuilder(Path(task["state"]), settings, host, off=tuple(task["off"])) as builder:
            root = Path(task["plugin"])
            if task.get("ask"):
                target = str(builder.place(root, ""))
                python = str(choose_interpreter(PythonWish(), (), download=False).program)
            else:
                builder.build(root, "", lines.append)
    except BuildError as failure:
        error = str(failure)
    finally:
        host.close()
    json.dump({"error": error, "lines": lines, "target": target, "python": python}, sys.stdout)


if __name__ == "__main__":
    main()
