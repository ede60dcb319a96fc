"""Whether the target of reverse calls has what it needs."""

from __future__ import annotations

from collections.abc import Iterator

from executor.config.clash import Clash
from executor.config.model import Config

__all__ = ["check_reverse"]


def check_reverse(config: Config) -> Iterator[Clash]:
    """Check that the section or file that the target is about is there."""
    target = config.reverse.target
    if target != "none" and getattr(config.reverse, target) is None:
        yield Clash(
            path=("reverse", "target"),
            found=target,
            expected=f"reverse.{target}",
            message=f"the target {target} needs reverse.{target}",
        )
    if config.reverse.storage.kept == "target" and target != "daemon":
        yield Clash(
            path=("reverse", "storage", "kept"),
            found="target",
            expected="here, or reverse.target daemon",
            message=f"the target {target} keeps no values; only a daemon does",
        )
