"""Accounts: whose evidence a query adds to.

Where the gateway vouches for a client's identity, the client is the account. Elsewhere anybody can write a name into the log;
if evidence counted for the name alone, a forger could get another client throttled. There a query belongs to an account of name
*and* network, separate from queries under the same name from other networks.

Inside the engine an account is one text, its key. It equals the client's id wherever that is vouched for.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from detector.ingest.batch import Sender

MARK = "\0"  # begins every key that is not a plain client id
UNKNOWN_ADDRESS = "unknown"
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")


@dataclass(frozen=True, slots=True)
class Account:
    """A client; where its identity is not vouched for, also the address that its queries come from."""

    client: str
    address: str | None = None


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
        return UNKNOWN_ADDRESS
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)


def account_key(client: str, sender: Sender, *, vouched: bool) -> str:
    """Return the key of the account of a query; different accounts have different keys, whatever their ids contain.

    >>> account_key("acme", Sender(ip="192.0.2.7"), vouched=True)
    'acme'
    >>> account_of(account_key("acme", Sender(ip="192.0.2.7:4711"), vouched=False))
    Account(client='acme', address='192.0.2.7')
    """
    if not vouched:
        return f"{MARK}{len(client)}:{client}{network_of(sender.ip)}"
    return f"{MARK}={client}" if client.startswith(MARK) else client


def account_of(key: str) -> Account:
    """Return the account of a key that `account_key` gave."""
    if not key.startswith(MARK):
        return Account(key)
    if key.startswith(f"{MARK}="):
        return Account(key[2:])
    length, _, rest = key[1:].partition(":")
    return Account(rest[: int(length)], rest[int(length) :])


def accounts_of(clients: Sequence[str], senders: Sequence[Sender], vouched: Callable[[Sender], bool]) -> Sequence[str]:
    """Return the key of the account of each of n queries; `vouched` tells whose identity a sender cannot have forged."""
    different = {id(sender): sender for sender in senders}
    forgeable = {number for number, sender in different.items() if not vouched(sender)}
    if not forgeable and not any(client.startswith(MARK) for client in clients):
        return clients
    return [
        account_key(client, sender, vouched=id(sender) not in forgeable)
        for client, sender in zip(clients, senders, strict=True)
    ]
