"""What checks see of a query."""

import re
from functools import lru_cache
from ipaddress import ip_network
from typing import Final, NamedTuple

from detector.audit.force import Standing
from detector.contracts.network import address_of
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.owner import Owner

__all__ = ["COARSE", "REFUSED", "Asked", "Seen", "is_fine", "network"]

REFUSED: Final = frozenset({403, 429})
"""Statuses by which a gateway refuses."""

COARSE: Final = 2
"""Decimals of a probability that are not yet more than most uses need."""

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PLAIN_V4: Final = re.compile(rf"({_OCTET}\.{_OCTET}\.{_OCTET})\.{_OCTET}", re.ASCII)
_V4_BITS: Final = 24
_V6_BITS: Final = 48


class Seen(NamedTuple):
    """A query that was decoded. `answered` is False where its status says that it was refused, or failed."""

    event: DecodedEvent
    time_ms: int
    client: str
    model: str
    answered: bool
    weight: float
    highest: float | None
    standing: Standing

    @property
    def told(self) -> bool:
        """Whether the answer names probabilities."""
        return self.highest is not None


class Asked(NamedTuple):
    """A record that could not be used; `status` is HTTP's, where the reason names it, `standing` what was in force."""

    refusal: Refusal
    owner: Owner | None
    status: int | None
    standing: Standing


def is_fine(probability: float) -> bool:
    """Tell whether a probability has more than two decimals; those of float32, written out in full, have not.

    >>> is_fine(0.25), is_fine(0.10000000149011612), is_fine(0.253)
    (False, False, True)
    """
    return abs(probability - round(probability, COARSE)) > 1e-6


@lru_cache(65_536)
def network(ip: str | None) -> str | None:
    """Return the network that an address is in: 24 bits of IPv4, 48 of IPv6; None where it is no address.

    >>> network("192.0.2.7:443"), network("2001:db8:1:2::3"), network("gateway")
    ('192.0.2.0/24', '2001:db8:1::/48', None)
    """
    if ip is None:
        return None
    plain = _PLAIN_V4.fullmatch(ip)
    if plain is not None:  # nearly all are, and this takes a tenth of the time
        return f"{plain[1]}.0/24"
    address = address_of(ip)
    if address is None:
        return None
    return str(ip_network((address, _V4_BITS if address.version == 4 else _V6_BITS), strict=False))
