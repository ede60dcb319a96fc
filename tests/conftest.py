"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A property holds or does not, however busy the machine is: no example fails for being slow. `make fuzz` looks longer.
settings.register_profile("patient", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
