"""Which `Host` the admin listener answers to.

It needs no password, because only this machine can reach it; but so can every web page that is open in a
browser on this machine. Such a page may not read answers of another origin, unless it makes its own name
resolve to 127.0.0.1 (DNS rebinding): then the browser takes us for the page's own server. It still sends the
page's name as `Host`, hence the rule: an IP address, `localhost`, or a name that the operator has configured.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["host_allowed", "split_host"]


def split_host(value: str) -> str:
    """Take the port and the brackets of an IPv6 address off the value of a `Host` header; lower case."""
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0].rstrip(".").lower()


def host_allowed(values: Iterable[str], allowed: frozenset[str]) -> bool:
    """Tell whether a request may be answered.

    Args:
        values: The `Host` headers of the request. None at all is fine: browsers always send one.
        allowed: Configured names, lower case.
    """
    hosts = [split_host(value) for value in values]
    return not hosts or (len(hosts) == 1 and (hosts[0] in allowed or hosts[0] == "localhost" or _is_ip(hosts[0])))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
