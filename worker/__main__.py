"""`python -I -m worker FD FOLDER...`: run the base zygote on an open descriptor, its end of the control socket."""

from __future__ import annotations

import sys
from typing import Final

from worker.base_zygote import run_base_zygote

USAGE: Final = (
    "usage: python -I -m worker FD FOLDER...    "
    "(FD: an open SOCK_SEQPACKET socket; FOLDER: of control groups to remove at the end; `executor serve` starts this)"
)

if __name__ == "__main__":
    if len(sys.argv) < 2 or not sys.argv[1].isdecimal():  # noqa: PLR2004 - the program and one argument
        sys.exit(USAGE)
    run_base_zygote(int(sys.argv[1]), sys.argv[2:])
