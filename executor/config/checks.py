"""Combinations of settings that cannot work, and those that are worth a note."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from executor.config.clash import Clash
from executor.config.isolation_checks import check_isolation
from executor.config.limit_checks import check_limits
from executor.config.model import Config
from executor.config.places import Problem, dotted
from executor.config.reverse_checks import check_reverse
from executor.config.serverless import SHORTEST_KEY, tell_short_key
from executor.errors import number_of
from protocol.checks import check_map
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_NODES, MAX_SETTINGS_BYTES

__all__ = ["POSTGRESQL_SCHEMES", "check_config", "check_values"]

MAX_PORT: Final = 65535
POSTGRESQL_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")
"""How a URL of `store.url` may begin."""


def check_config(config: Config) -> list[Problem]:
    """Check what single fields cannot tell: addresses, limits, layers, origins, folders.

    Args:
        config: A configuration whose fields are all valid.

    Returns:
        Errors, warnings and notes.
    """
    clashes = (
        *_check_addresses(config),
        *check_limits(config),
        *check_isolation(config),
        *_check_cors(config),
        *_check_plugins(config),
        *_check_store(config),
        *_check_signatures(config),
        *check_reverse(config),
        *_check_serverless(config),
    )
    return [_locate(config, clash) for clash in clashes]


def check_values(config: Config, hook_id: str, values: dict[str, object]) -> list[Problem]:
    """Check that the values of a hook's settings can be sent to a worker."""
    try:
        check_map("settings", values, MAX_NODES, MAX_SETTINGS_BYTES)
    except LocalProtocolError as error:
        path = ("hooks", hook_id, "settings")
        expected = f"at most {MAX_SETTINGS_BYTES} bytes of plain data"
        clash = Clash(path=path, found="more than that", expected=expected, message=str(error))
        return [_locate(config, clash)]
    return []


def _locate(config: Config, clash: Clash) -> Problem:
    return Problem(
        severity=clash.severity,
        name=dotted(clash.path),
        place=config.source.locate(clash.path),
        found=str(clash.found),
        expected=clash.expected,
        message=clash.message,
    )


def _check_addresses(config: Config) -> Iterator[Clash]:
    port, host = config.admin_port, config.admin.host
    if port > MAX_PORT:
        message = "there is no port after listen.port for the admin listener; give admin.port"
        yield Clash(path=("listen", "port"), found=config.listen.port, expected="admin.port", message=message)
    elif port and port == config.listen.port and _overlap(host, config.listen.host):
        message = f"both listeners would use port {port}; give them different ones"
        yield Clash(path=("admin", "port"), found=port, expected="another port", message=message)
    if not _is_loopback(host):
        message = "the admin listener has no authentication and can be reached from other machines"
        yield Clash(
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


def _check_cors(config: Config) -> Iterator[Clash]:
    if config.cors is not None and config.cors.credentials and "*" in config.cors.origins:
        yield Clash(
            path=("cors", "credentials"),
            found="true",
            expected='false, or origins without "*"',
            message='browsers refuse credentials together with origin "*"; name the origins',
        )


def _check_plugins(config: Config) -> Iterator[Clash]:
    seen: set[object] = set()
    for index, plugin in enumerate(config.plugins):
        path = plugin.path.resolve()
        if path in seen:
            message = f"the plugin {plugin.path} is given twice"
            yield Clash(path=("plugins", index), found=plugin.path, expected="each plugin once", message=message)
        seen.add(path)


def _check_signatures(config: Config) -> Iterator[Clash]:
    if config.packages.require_signature and not config.packages.public_keys:
        message = "no package can be installed: signatures are required, and no key is named"
        path = ("packages", "public_keys")
        yield Clash(path=path, found="none", expected="at least one file with a public key", message=message)


def _check_store(config: Config) -> Iterator[Clash]:
    url = config.store.url
    scheme = url.given.partition(":")[0] if url is not None and isinstance(url.given, str) else ""
    if scheme and scheme not in POSTGRESQL_SCHEMES:
        yield Clash(
            path=("store", "url"),
            found="another text",
            expected="postgresql://USER:PASSWORD@HOST:5432/DATABASE",
            message="it is not the URL of a PostgreSQL database, which begins with postgresql://; give no URL for "
            "SQLite in the state directory",
        )
    if url is not None and config.secrets.key is None:
        yield Clash(
            path=("secrets", "key"),
            found="nothing",
            expected="a key, or where it is",
            message="other executors that use the database of store.url cannot read secrets that this one encrypts "
            "with a key in its state directory; give all of them the same secrets.key",
            severity="note",
        )


def _check_serverless(config: Config) -> Iterator[Clash]:
    """Check a key that stands in the configuration; others are fetched, and checked, when the service starts."""
    given = None if config.serverless is None else config.serverless.key.given
    if isinstance(given, str) and len(given.strip()) < SHORTEST_KEY:
        size = len(given.strip())
        yield Clash(
            path=("serverless", "key"),
            found=number_of(size, "character"),
            expected=f"at least {SHORTEST_KEY} characters",
            message=tell_short_key(size),
        )
