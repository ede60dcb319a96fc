"""Masks of secrets, as Dify shows them: the first two and the last two characters, or none of a short one."""

from __future__ import annotations

from collections.abc import Mapping

from executor.catalog.settings import mask as mask_text

__all__ = ["keep_masked", "mask"]


def mask(value: object) -> str:
    """Write a secret so that it may be shown.

    Of a text with more than 6 characters the first and last two are left; the length is that of the secret.
    """
    return mask_text(value if isinstance(value, str) else "" if value is None else str(value))


def keep_masked(given: Mapping[str, object], present: Mapping[str, object]) -> dict[str, object]:
    """Take a value that is the mask of the present one as that one: whoever sends it has not changed it.

    Args:
        given: New values of secret settings, by name.
        present: The present ones.
    """
    return {
        name: present[name] if value and name in present and value == mask(present[name]) else value
        for name, value in given.items()
    }
