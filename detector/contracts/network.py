"""Networks of callers: the one spelling of an address, in the accounts of detection, in decisions and in a gateway's gate.

Whoever binds a decision to an address and whoever obeys it must agree on it, or the decision holds for nobody.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

__all__ = ["network_of"]

_UNKNOWN: Final = "unknown"
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")


@lru_cache(65_536)
def network_of(ip: str | None) -> str:
    """Return the network of a logged address, in one spelling: an IPv4 address as it is, the first 64 bits of an IPv6 one.

    One customer can choose the last 64 bits of an IPv6 address, and ports change with each connection. Any other text, an empty
    one included, gives "unknown"; otherwise a client could make as many accounts as there are texts.

    >>> [network_of(ip) for ip in ("192.0.2.7:80", "::ffff:192.0.2.7", "[2001:db8::1]:443", "2001:db8::2", "gateway", None)]
    ['192.0.2.7', '192.0.2.7', '2001:db8::/64', '2001:db8::/64', 'unknown', 'unknown']
    """
    text = (ip or "").strip()
    host = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(host["v6"] or host["v4"] if host else text)
    except ValueError:
        return _UNKNOWN
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)
