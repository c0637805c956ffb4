"""Networks of callers, spelled as in decisions that are bound to an address."""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

__all__ = ["network_of"]

_UNKNOWN: Final = "unknown"
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")


@lru_cache(16_384)
def network_of(text: str) -> str:
    """Return an IPv4 address as it is, the first 64 bits of an IPv6 one, and "unknown" for any other text.

    Detection names accounts by the same rule; the two must agree, or decisions bound to an address match nobody.

    >>> [network_of(text) for text in ("192.0.2.7:80", "::ffff:192.0.2.7", "[2001:db8::1]:443", "gateway")]
    ['192.0.2.7', '192.0.2.7', '2001:db8::/64', 'unknown']
    """
    host = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ip_address(host["v6"] or host["v4"] if host else text.strip())
    except ValueError:
        return _UNKNOWN
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)
