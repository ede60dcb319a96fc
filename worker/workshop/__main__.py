"""`python -I -m worker.workshop FD`: run one workshop, told what to do on an open descriptor."""

from __future__ import annotations

import sys
from typing import Final

from worker.workshop.entrance import run_workshop

USAGE: Final = "usage: python -I -m worker.workshop FD    (FD: an open SOCK_SEQPACKET socket; `executor` starts this)"

if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():  # noqa: PLR2004 - the program and one argument
        sys.exit(USAGE)
    sys.exit(run_workshop(int(sys.argv[1])))
