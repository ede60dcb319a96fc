"""One request in an interpreter of its own: `python -I .../one_request.py`; the body goes to standard output."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # -I leaves out what a user's environment would add

from tests.bench.handler import BytesSource, answer_with, load_endpoint, make_invoke
from tests.bench.workloads import HELLO

for piece in answer_with(load_endpoint(HELLO), make_invoke(HELLO), BytesSource(b"")).body:
    sys.stdout.buffer.write(piece)
