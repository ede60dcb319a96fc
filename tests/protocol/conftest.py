"""Settings for the property tests of the protocol."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
"""A deadline for one example would measure what else the machine does; the time-out of the test bounds them all."""
settings.load_profile("unhurried")
