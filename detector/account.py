"""Accounts: whose evidence a query adds to.

Where the gateway vouches for a client's identity, the client is the account. Where it does not, anybody can write a name into
the log, and evidence under the bare name would let a forger get somebody else throttled. Such a query belongs to an account of
name *and* network address, apart from everything that came under the same name from elsewhere.

Inside the engine an account is one text, its key, which is the client's id wherever that is vouched for.
"""

from dataclasses import dataclass

from detector.ingest.batch import Sender

MARK = "\0"  # begins the key of what is no plain client id
UNKNOWN_ADDRESS = "unknown"


@dataclass(frozen=True, slots=True)
class Account:
    """A client, and where it is not vouched for the address that its queries come from."""

    client: str
    address: str | None = None


def account_key(client: str, sender: Sender, *, vouched: bool) -> str:
    """Return the key of the account of a query; different accounts have different keys, whatever their ids hold.

    >>> account_key("acme", Sender(ip="192.0.2.7"), vouched=True)
    'acme'
    >>> account_of(account_key("acme", Sender(ip="192.0.2.7"), vouched=False))
    Account(client='acme', address='192.0.2.7')
    """
    if not vouched:
        return f"{MARK}{len(client)}:{client}{sender.ip or UNKNOWN_ADDRESS}"
    return f"{MARK}={client}" if client.startswith(MARK) else client


def account_of(key: str) -> Account:
    """Return the account of a key that `account_key` gave."""
    if not key.startswith(MARK):
        return Account(key)
    if key.startswith(f"{MARK}="):
        return Account(key[2:])
    length, _, rest = key[1:].partition(":")
    return Account(rest[: int(length)], rest[int(length) :])
