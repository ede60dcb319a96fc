"""Masks of secrets, as the contract has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.vault.masks import keep_masked, mask


@pytest.mark.parametrize(
    ("secret", "masked"),
    [
        ("", ""),
        ("a", "*"),
        ("secret", "******"),
        ("secret7", "se***t7"),
        ("correct-horse", "co*********se"),
        ("пароль!", "па***ь!"),
        (None, ""),
        (12345678, "12****78"),
    ],
)
def test_masks(secret: object, masked: str) -> None:
    """Up to six characters all are hidden, of more the first and last two are shown."""
    assert mask(secret) == masked


@given(st.text(min_size=1))
def test_a_mask_shows_at_most_four_characters(secret: str) -> None:
    """And is as long as the secret."""
    masked = mask(secret)
    assert len(masked) == len(secret)
    assert masked[2:-2] == "*" * len(masked[2:-2])


def test_a_value_that_is_its_mask_is_unchanged() -> None:
    """So that a list that was shown can be sent back; everything else is a new value."""
    present = {"token": "correct-horse", "empty": "", "short": "abc"}
    given = {"token": mask("correct-horse"), "empty": "", "short": "abd", "new": "****"}
    assert keep_masked(given, present) == {"token": "correct-horse", "empty": "", "short": "abd", "new": "****"}
    assert keep_masked({"token": mask("correct-hors")}, present) == {"token": mask("correct-hors")}
