"""Accounts: whose evidence a query adds to.

Where the gateway vouches for a client's identity, the client is the account. Elsewhere anybody can write a name into the log;
if evidence counted for the name alone, a forger could get another client throttled. There a query belongs to an account of name
*and* network, separate from queries under the same name from other networks.

Inside the engine an account is one text, its key. It equals the client's id wherever that is vouched for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detector.contracts.network import network_of
from detector.ingest.batch import Sender

MARK = "\0"  # begins every key that is not a plain client id


@dataclass(frozen=True, slots=True)
class Account:
    """A client; where its identity is not vouched for, also the address that its queries come from."""

    client: str
    address: str | None = None


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
