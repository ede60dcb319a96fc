"""Runs the fuzz target: `python -m tests.fuzz --seconds 60`. atheris has to see the imports to count coverage."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import nullcontext

if importlib.util.find_spec("atheris") is not None:
    watching = importlib.import_module("atheris").instrument_imports(include=["protocol"])
else:
    watching = nullcontext()

with watching:
    from tests.fuzz.fuzz_connection import main

main()
