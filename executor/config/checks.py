"""Combinations of settings that cannot work, and those that are worth a note."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from executor.config.effective import WITHIN_WALL_TIME
from executor.config.limits import Limits
from executor.config.model import Config
from executor.config.places import KeyPath, Problem, dotted
from executor.config.units import format_duration
from protocol.checks import check_map
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_NODES, MAX_SETTINGS_BYTES

__all__ = ["check_config", "check_values"]

MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    path: KeyPath
    found: object
    expected: str
    message: str
    severity: Literal["error", "note"] = "error"


def check_config(config: Config) -> list[Problem]:
    """Check what single fields cannot tell: addresses, times, counts, origins, folders.

    Args:
        config: A configuration whose fields are all valid.

    Returns:
        Errors and notes.
    """
    findings = (
        *_check_addresses(config),
        *_check_times(config),
        *_check_counts(config),
        *_check_cors(config),
        *_check_plugins(config),
    )
    return [_locate(config, finding) for finding in findings]


def check_values(config: Config, hook_id: str, values: dict[str, object]) -> list[Problem]:
    """Check that the values of a hook's settings can be sent to a worker."""
    try:
        check_map("settings", values, MAX_NODES, MAX_SETTINGS_BYTES)
    except LocalProtocolError as error:
        path = ("hooks", hook_id, "settings")
        expected = f"at most {MAX_SETTINGS_BYTES} bytes of plain data"
        finding = _Finding(path=path, found="more than that", expected=expected, message=str(error))
        return [_locate(config, finding)]
    return []


def _locate(config: Config, finding: _Finding) -> Problem:
    return Problem(
        severity=finding.severity,
        name=dotted(finding.path),
        place=config.source.locate(finding.path),
        found=str(finding.found),
        expected=finding.expected,
        message=finding.message,
    )


def _check_addresses(config: Config) -> Iterator[_Finding]:
    port, host = config.admin_port, config.admin.host
    if port > MAX_PORT:
        message = "there is no port after listen.port for the admin listener; give admin.port"
        yield _Finding(path=("listen", "port"), found=config.listen.port, expected="admin.port", message=message)
    elif port and port == config.listen.port and _overlap(host, config.listen.host):
        message = f"both listeners would use port {port}; give them different ones"
        yield _Finding(path=("admin", "port"), found=port, expected="another port", message=message)
    if not _is_loopback(host):
        message = "the admin listener has no authentication and can be reached from other machines"
        yield _Finding(
            path=("admin", "host"),
            found=host,
            expected="a loopback address",
            message=message,
            severity="note",
        )


def _overlap(one: str, other: str) -> bool:
    return one == other or _is_wildcard(one) or _is_wildcard(other)


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_times(config: Config) -> Iterator[_Finding]:
    """Refuse times longer than the wall time that holds where they are given; see `effective`."""
    general = config.limits.wall_time
    yield from _check_wall(("limits",), config.limits, general)
    for index, plugin in enumerate(config.plugins):
        yield from _check_wall(("plugins", index, "limits"), plugin.limits, _own_or(plugin.limits, general))
    # which plugin a hook has is not known yet, so the longest wall time that it may inherit counts
    inherited = max([general, *(_own_or(plugin.limits, general) for plugin in config.plugins)])
    for hook_id, hook in config.hooks.items():
        yield from _check_wall(("hooks", hook_id, "limits"), hook.limits, _own_or(hook.limits, inherited))


def _own_or(limits: Limits, inherited: float) -> float:
    return limits.wall_time if "wall_time" in limits.model_fields_set else inherited


def _check_wall(path: KeyPath, limits: Limits, wall_time: float) -> Iterator[_Finding]:
    for name in WITHIN_WALL_TIME:
        value = getattr(limits, name)
        if name in limits.model_fields_set and value > wall_time:
            wall = format_duration(wall_time)
            yield _Finding(
                path=(*path, name),
                found=format_duration(value),
                expected=f"at most wall_time, which is {wall}",
                message=f"it is longer than wall_time, which is {wall}, and could never be reached",
            )


def _check_counts(config: Config) -> Iterator[_Finding]:
    levels: list[tuple[KeyPath, Limits]] = [(("limits",), config.limits)]
    levels += [(("plugins", index, "limits"), plugin.limits) for index, plugin in enumerate(config.plugins)]
    levels += [(("hooks", hook_id, "limits"), hook.limits) for hook_id, hook in config.hooks.items()]
    for path, limits in levels:
        for name in ("concurrency", "queue_length"):
            most, value = getattr(config.admission, name), getattr(limits, name)
            if name in limits.model_fields_set and value > most:
                yield _Finding(
                    path=(*path, name),
                    found=value,
                    expected=f"at most {most}",
                    message=f"one hook never uses {value}: admission.{name} is {most} for all of them",
                    severity="note",
                )


def _check_cors(config: Config) -> Iterator[_Finding]:
    if config.cors is not None and config.cors.credentials and "*" in config.cors.origins:
        yield _Finding(
            path=("cors", "credentials"),
            found="true",
            expected='false, or origins without "*"',
            message='browsers refuse credentials together with origin "*"; name the origins',
        )


def _check_plugins(config: Config) -> Iterator[_Finding]:
    seen: set[object] = set()
    for index, plugin in enumerate(config.plugins):
        path = plugin.path.resolve()
        if path in seen:
            message = f"the plugin {plugin.path} is given twice"
            yield _Finding(path=("plugins", index), found=plugin.path, expected="each plugin once", message=message)
        seen.add(path)
