"""Whether the target of reverse calls has what it needs."""

from __future__ import annotations

import ipaddress
import ssl
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

from executor.config.clash import Clash
from executor.config.model import Config
from executor.config.reverse_targets import DaemonSettings, DifySettings, OpenAiSettings

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
    if target == "dify" and not _is_uuid(config.reverse.tenant):
        yield Clash(
            path=("reverse", "tenant"),
            found=config.reverse.tenant,
            expected="the id of a workspace of Dify's, a UUID",
            message="Dify knows its workspaces by UUIDs, as in its table `tenants`, and refuses calls for others",
            severity="warning",
        )
    if config.reverse.storage.kept == "target" and target != "daemon":
        yield Clash(
            path=("reverse", "storage", "kept"),
            found="target",
            expected="here, or reverse.target daemon",
            message=f"the target {target} keeps no values; only a daemon does",
        )
    for name in ("dify", "daemon", "openai"):
        peer = getattr(config.reverse, name)
        if peer is not None:
            yield from _check_peer(name, peer)


def _check_peer(name: str, peer: DifySettings | DaemonSettings | OpenAiSettings) -> Iterator[Clash]:
    """Check that certificates can be read, and tell of keys and contents that everybody on the way can read."""
    if peer.ca_file is not None:
        try:
            ssl.create_default_context(cafile=peer.ca_file)
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
            yield Clash(
                path=("reverse", name, "ca_file"),
                found=peer.ca_file,
                expected="a file with certificates in PEM",
                message=f"no certificates can be read from {peer.ca_file}: {str(reason or error).lower()}",
            )
    parts = urlsplit(peer.url)
    if parts.scheme == "http" and not _is_near(parts.hostname or ""):
        yield Clash(
            path=("reverse", name, "url"),
            found=peer.url,
            expected="https",
            message="keys, and what endpoints ask and are told, go over the network in plain text",
            severity="warning",
        )


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _is_near(host: str) -> bool:
    """Whether it is this machine, or one of a private network by its address or its short name, as in containers."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".internal", ".local", ".svc"))
    return address.is_private or address.is_loopback
