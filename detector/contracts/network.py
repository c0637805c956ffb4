"""Networks of callers: the one spelling of an address, in the accounts of detection, in decisions and in a gateway's gate.

Whoever binds a decision to an address and whoever obeys it must agree on it, or the decision holds for nobody.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

__all__ = ["address_of", "network_of"]

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
    address = address_of(ip or "")
    if address is None:
        return _UNKNOWN
    return str(ip_network((int(address) >> 64 << 64, 64)) if isinstance(address, IPv6Address) else address)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, with or without a port; None where it is none. An IPv4 address in IPv6's form is one.

    >>> str(address_of("[::ffff:192.0.2.7]:443")), str(address_of("2001:DB8:0::1")), address_of("gateway")
    ('192.0.2.7', '2001:db8::1', None)
    """
    host = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ip_address(host["v6"] or host["v4"] if host else text.strip())
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
