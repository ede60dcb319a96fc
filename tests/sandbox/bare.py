"""Runs an attack outside of any sandbox: `python bare.py PLUGIN AREA NAME TARGET RESULT_FD`.

A parent and a child, as a slot and a worker are; the attack runs in the child, and what it does to its parent hits
this process. It is left careless on purpose: the environment and all descriptors are handed down, and whoever is below
may take back what was given up for it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path


def main() -> None:
    """Fork, attack in the child, and wait for it."""
    plugin, area, name, target, result = sys.argv[1:]
    inherited = dict(os.environ)
    sockets = [socket.socket(fileno=number) for number in json.loads(inherited.pop("BARE_SOCKETS"))]
    sys.path.insert(0, plugin)
    os.chdir(plugin)
    give_up_memory()
    if os.fork() == 0:
        __import__(f"attacks.{area}")
        answer = sys.modules["attacks"].run(area, name, json.loads(Path(target).read_text()))
        os.write(int(result), answer)
        os._exit(0)
    os.wait()
    del sockets, inherited


def give_up_memory() -> None:
    """Be killed a little earlier than others when memory is short."""
    score = Path("/proc/self/oom_score_adj")
    score.write_text(str(min(1000, int(score.read_text()) + 1)))


if __name__ == "__main__":
    main()
