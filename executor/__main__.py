"""`python -m executor` is the same as the command `executor`."""

from executor.cli import main

main()
