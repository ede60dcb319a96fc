"""The program that builds of environments run in: `python -I -m worker.workshop FD`."""
