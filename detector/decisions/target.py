"""Whom a person decides about, as gateways spell it.

The gate compares names as they are written. An address in another spelling would make a decision that holds for nobody.
"""

import re
from ipaddress import ip_network
from typing import get_args

from detector.contracts.decision import THROTTLED_TOO, SubjectType
from detector.contracts.network import address_of, network_of
from detector.decisions.register import Target
from detector.errors import ConfigError

__all__ = ["kind_of", "target_of"]

_CUT = re.compile(r"campaign-[0-9a-f]{1,11}")
_CAMPAIGN = re.compile(rf"campaign-[0-9a-f]{{12}}({THROTTLED_TOO})?")


def kind_of(subject: str, kind: str | None = None) -> str:
    """Return the type of a subject that is named without one: a campaign where it has the form of the detector's ids.

    Raises `ConfigError` for the beginning of such an id: a decision about a client of that name would stop nobody.

    >>> kind_of("campaign-0123456789ab"), kind_of("acme"), kind_of("campaign-0123456789ab", "client")
    ('campaign', 'client', 'client')
    """
    if kind is None and _CUT.fullmatch(subject):
        raise ConfigError(
            f"{subject} is no whole id of a campaign, which ends in 12 digits and letters: write all of it, or --type client "
            "for a client of that name"
        )
    return kind or ("campaign" if _CAMPAIGN.fullmatch(subject) else "client")


def target_of(kind: str, subject: str, address: str | None = None) -> Target:
    """Return the subject of a manual decision; addresses and networks get the spelling that the gate knows.

    Raises `ConfigError` for a kind of subject that does not exist, and for what is no address or network.

    >>> target_of("cidr", "192.0.2.7/24").id, target_of("client", "acme", "2001:DB8::1").address
    ('192.0.2.0/24', '2001:db8::/64')
    """
    known = get_args(SubjectType)
    if kind not in known:
        raise ConfigError(f"--type {kind}: there is no such subject; known: {', '.join(known)}")
    return Target(kind, _spelled(kind, subject), None if address is None else _network(address))


def _spelled(kind: str, subject: str) -> str:
    if kind == "ip":
        address = address_of(subject)
        if address is None:
            raise ConfigError(f"--type ip: {subject!r} is none; write it as 192.0.2.7")
        return str(address)
    try:
        return str(ip_network(subject, strict=False)) if kind == "cidr" else subject
    except ValueError as error:
        raise ConfigError(f"--type cidr: {subject!r} is none; write it as 192.0.2.0/24") from error


def _network(address: str) -> str:
    """Return what decisions are bound to: an IPv4 address, 64 bits of an IPv6 one, or "unknown" where the log has none."""
    network = network_of(address.removesuffix("/64"))
    if network == "unknown" != address:
        raise ConfigError(f"--address {address}: write an address such as 192.0.2.7 or 2001:db8::1, or unknown")
    return network
