"""What is told when the service is ready; tests/e2e has the rest."""

from __future__ import annotations

from executor.hooks import Bound
from executor.run import endpoint_table
from executor.service import Addresses

ADDRESSES = Addresses("http://127.0.0.1:1", "http://127.0.0.1:2")


def test_where_nothing_is_served_it_is_told_how_to_add_something() -> None:
    """With the options that commands need to find the same store."""
    lines = endpoint_table(ADDRESSES, Bound(), " --state-dir '/a {b}'").splitlines()
    assert lines[0] == "Serving:"
    assert lines[1].startswith("  nothing yet; ")
    assert lines[2:4] == [
        "    executor plugin install PACKAGE --state-dir '/a {b}'",
        "    executor hook create NAME --state-dir '/a {b}'",
    ]
    assert lines[4].endswith("http://127.0.0.1:2")


def test_hooks_that_cannot_be_served_are_not_nothing() -> None:
    """Another hook would not mend them."""
    table = endpoint_table(ADDRESSES, Bound(failed={"cat": "its files are gone"}))
    assert "nothing, for no hook can be served; the log says why" in table
    assert "executor hook create" not in table
