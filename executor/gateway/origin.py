"""Who asked, and under which address: the connection's own facts, or what a trusted proxy says of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from executor.http.asgi import Scope

__all__ = ["Network", "Origin", "find_origin"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOST: Final = 300
"""Characters of a host with its port; a name of the DNS has at most 253."""

MAX_ADDRESS: Final = 64
"""Characters of an address: an IPv6 address has at most 45, and may name a network interface."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """The request as seen from the public side.

    Attributes:
        scheme: `http` or `https`.
        host: Value of the Host header, with the port where one was given.
        server_name: The host without the port.
        server_port: The port, or the scheme's default.
        remote_addr: The client's address, if it has one.
        hook_url: What a trusted proxy says is the public URL of this request; empty otherwise.
    """

    scheme: str
    host: str
    server_name: str
    server_port: int
    remote_addr: str | None
    hook_url: str


def find_origin(scope: Scope, trusted: Sequence[Network]) -> Origin:
    """Work out the origin of a request.

    `X-Forwarded-Proto`, `X-Forwarded-For`, `X-Original-Host` and `Dify-Hook-Url` count only when the connection
    comes from one of the `trusted` networks.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    peer: str | None = scope["client"][0] if scope.get("client") else None
    scheme: str = scope["scheme"]
    host = _last(headers, b"host")
    remote, hook_url = peer, ""
    if trusted and _is_trusted(peer, trusted):
        proto = _last(headers, b"x-forwarded-proto").split(",")[0].strip().lower()
        scheme = proto if proto in DEFAULT_PORTS else scheme
        host = _plausible(_last(headers, b"x-original-host")) or host
        remote = _client_behind_proxies(headers, peer, trusted)
        hook_url = _last(headers, b"dify-hook-url")
    if not host:
        name, port = scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else str(name)
    server_name, server_port = _split_host(host, DEFAULT_PORTS[scheme])
    return Origin(scheme, host, server_name, server_port, remote, hook_url)


def _plausible(host: str) -> str:
    return host if len(host) <= MAX_HOST and host.isascii() and host.isprintable() else ""


def _client_behind_proxies(
    headers: Iterable[tuple[bytes, bytes]], peer: str | None, trusted: Sequence[Network]
) -> str | None:
    """Return the last address of `X-Forwarded-For` that is not itself a trusted proxy: the first ones may be lies."""
    hops = ",".join(value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for").split(",")
    for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
        if not _is_trusted(hop, trusted):
            return hop if _parse(hop) is not None else peer
    return peer


def _is_trusted(address: str | None, trusted: Sequence[Network]) -> bool:
    parsed = _parse(address) if address else None
    return parsed is not None and any(parsed in network for network in trusted)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address) if len(address) <= MAX_ADDRESS else None
    except ValueError:
        return None


def _split_host(host: str, default_port: int) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal() and port.isascii() and len(port) <= 5 and not name.endswith(":"):  # noqa: PLR2004
        return name, min(int(port), 65_535)
    return host, default_port


def _last(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str:
    found = b""
    for name, value in headers:
        if name == wanted:
            found = value
    return found.decode("latin-1").strip()
