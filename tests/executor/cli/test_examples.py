"""How examples and explanations of `--help` are laid out."""

from __future__ import annotations

from executor.cli.examples import lay_out

TEXT = """
Examples:

  executor purr                 all cats

  executor purr --cat tom       ... or one

Cats purr when they
like it.
"""


def test_where_there_is_room() -> None:
    """Examples stay as they are, a line each; a paragraph is one line, which the terminal folds."""
    assert lay_out(TEXT, 80).splitlines() == [
        "",
        "Examples:",
        "",
        "  executor purr                 all cats",
        "  executor purr --cat tom       ... or one",
        "",
        "Cats purr when they like it.",
    ]


def test_where_there_is_little_room() -> None:
    """What an example does stands below it, for all of them."""
    assert lay_out(TEXT, 40).splitlines()[3:7] == [
        "  executor purr",
        "      all cats",
        "  executor purr --cat tom",
        "      ... or one",
    ]


def test_long_commands_are_continued() -> None:
    """Before a pipe, another command or an option, not within quotes; one that cannot be is left to the terminal."""
    example = "  executor purr --format json | jq -r '.cats[] | select(.loud)' && executor hush --all"
    lines = lay_out(example, 50).strip("\n").splitlines()
    assert lines == [
        "  executor purr --format json \\",
        "      | jq -r '.cats[] | select(.loud)' \\",
        "      && executor hush --all",
    ]
    assert lay_out("  executor purr 'one two three'", 20) == "\n  executor purr 'one two three'"
    assert lay_out(example, 10).splitlines()[-1] == "      --all"


def test_nothing_is_nothing() -> None:
    """Commands without examples get none."""
    assert lay_out("") == ""
