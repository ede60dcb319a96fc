"""What figures depend on besides the code."""

from __future__ import annotations

import os
import platform
import re
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from executor.version import __version__

__all__ = ["describe_layers", "describe_machine"]


def describe_machine() -> dict[str, str]:
    """Return names and values, for people."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "executor": __version__,
        "Python": platform.python_version(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{pages / (1 << 30):.0f} GiB",
        "user": "root" if os.geteuid() == 0 else "an ordinary user",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown"


def describe_layers(admin_url: str) -> str:
    """Tell how many layers of isolation a running service says are on, and which are not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{admin_url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    layers = dict(re.findall(r'^executor_isolation_layer\{layer="(\w+)"\} (\S+)$', text, re.MULTILINE))
    missing = [name for name, value in layers.items() if float(value) != 1]
    count = f"{len(layers) - len(missing)} of {len(layers)} layers on"
    return f"{count}; not {', '.join(missing)}" if missing else count
