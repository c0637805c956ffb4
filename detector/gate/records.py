"""Records of the decisions topic, read into what the gate keeps of them.

Reading is lenient where the contract is: an action that this version does not know is an alert, unknown fields are left out.
What is no decision at all is `None`, to be counted: one bad record must not stop the others.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from detector.contracts.decision import LADDER, ORIGINS, key_end
from detector.contracts.moment import parse_rfc3339
from detector.gate.packing import FOREVER_MS, NO_DETAILS, Details

__all__ = ["ANYWHERE", "CAMPAIGN", "SEPARATOR", "Key", "Member", "Record", "key_of", "read_key", "read_value"]

SEPARATOR: Final = "\0"
CAMPAIGN: Final = "campaign"
ANYWHERE: Final = "*"  # the end of a key that holds for every model

_ORIGINS: Final[dict[str, int]] = {origin: place for place, origin in enumerate(ORIGINS)}
_RANKS: Final[dict[str, int]] = {action: place for place, action in enumerate(LADDER)}
_ALERT: Final = _RANKS["alert"]
_LARGEST: Final = 1 << 62  # of a revision
_MOST: Final = 1_000_000_000  # of any parameter: what is beyond it is no float, and would raise with each request


class Member(NamedTuple):
    """An account of a campaign; `address` is there where nobody vouches for the name."""

    client: str
    address: str | None = None


class Key(NamedTuple):
    """Who decided, whom a decision is about, and where: `where` is the end of the topic's key, its models and address."""

    origin: int  # place in `ORIGINS`
    kind: str
    subject: str
    where: str

    @property
    def text(self) -> str:
        r"""The key in the store: ``client\0where``, and for other subjects ``\0kind\0subject\0where``."""
        return key_of(self.kind, self.subject) + self.where


class Record(NamedTuple):
    """A decision, as far as a gateway needs it."""

    key: Key
    models: tuple[str, ...]
    rank: int
    expires_ms: int
    revision: int
    simulated: bool
    details: Details
    members: tuple[Member, ...] = ()


class _Subject(msgspec.Struct):
    type: str
    id: str
    address: str | None = None


class _Member(msgspec.Struct):
    id: str
    address: str | None = None


class _Scope(msgspec.Struct):
    models: tuple[str, ...] | None = None
    routes: tuple[str, ...] | None = None


class _Parameters(msgspec.Struct):
    requests_per_minute: int | None = None
    retry_after_seconds: int | None = None
    status_code: int | None = None


class _Decision(msgspec.Struct):
    revision: int
    subject: _Subject
    action: str
    expires_at: str | None
    origin: str
    simulated: bool
    scope: _Scope | None = None
    parameters: _Parameters | None = None
    members: tuple[_Member, ...] | None = None


_decode = msgspec.json.Decoder(_Decision).decode


def key_of(kind: str, subject: str) -> str:
    r"""Return the beginning of a subject's keys in the store.

    >>> key_of("client", "acme"), key_of("organization", "acme")
    ('acme\x00', '\x00organization\x00acme\x00')
    """
    if kind == "client":
        return subject + SEPARATOR
    return f"{SEPARATOR}{kind}{SEPARATOR}{subject}{SEPARATOR}"


def read_value(value: bytes) -> Record | None:
    """Return the decision in a record's value; None where it holds none."""
    try:
        found = _decode(value)
        expires_ms = FOREVER_MS if found.expires_at is None else _moment_ms(found.expires_at)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    subject, scope = found.subject, found.scope
    if not subject.id or SEPARATOR in subject.type + subject.id or not 0 < found.revision < _LARGEST:
        return None
    models = None if scope is None else scope.models
    rate = None if found.parameters is None else found.parameters.requests_per_minute
    if models == () or (found.action == "throttle" and rate is None):
        return None
    return Record(
        key=Key(_ORIGINS.get(found.origin, 0), subject.type, subject.id, _place(models, subject.address)),
        models=models or (),
        rank=_RANKS.get(found.action, _ALERT),
        expires_ms=expires_ms,
        revision=found.revision,
        simulated=found.simulated,
        details=_details(found.parameters, scope),
        members=tuple(Member(one.id, one.address) for one in found.members or ()) if subject.type == CAMPAIGN else (),
    )


def _place(models: tuple[str, ...] | None, address: str | None) -> str:
    return _place_of_models(models) if address is None else key_end(models, address)


@lru_cache(4096)  # few places are named by millions of records
def _place_of_models(models: tuple[str, ...] | None) -> str:
    return key_end(models)


def _moment_ms(text: str) -> int:
    """Return a moment; in the form that we write it is read without a pattern, as millions are when a gate starts."""
    if len(text) == 24 and text[19] == "." and text[23] == "Z" and text.isascii():
        seconds, rest = text[17:19], text[20:23]
        if seconds.isdigit() and rest.isdigit() and seconds < "60":
            return _minute_ms(text[:17]) + 1000 * int(seconds) + int(rest)
    return parse_rfc3339(text)


@lru_cache(4096)
def _minute_ms(text: str) -> int:
    return parse_rfc3339(text + "00Z")


def _details(parameters: _Parameters | None, scope: _Scope | None) -> Details:
    routes = None if scope is None else scope.routes
    if parameters is None:
        return NO_DETAILS if routes is None else Details(routes=routes)
    rate, wait_s, status = parameters.requests_per_minute, parameters.retry_after_seconds, parameters.status_code
    if rate is None and wait_s is None and status is None and routes is None:
        return NO_DETAILS
    return Details(_bounded(rate), _bounded(wait_s), _bounded(status), routes)


def _bounded(number: int | None) -> int | None:
    return None if number is None else min(max(number, 0), _MOST)


def read_key(key: bytes) -> Key | None:
    """Return the subject and place that a key of the topic names; None where it is no such key.

    Keys of decisions that are not the detector's begin with their origin.

    >>> read_key(b"client:kong:prod:acme:fraud")
    Key(origin=0, kind='client', subject='kong:prod:acme', where='fraud')
    >>> read_key(b"manual:client:acme:*")
    Key(origin=2, kind='client', subject='acme', where='*')
    """
    text = key.decode(errors="replace")
    first, _, rest = text.partition(":")
    origin = _ORIGINS.get(first)
    kind, _, rest = (text if origin is None else rest).partition(":")
    subject, colon, where = rest.rpartition(":")  # what follows it has no colon: they are escaped there
    known = colon and subject and where and SEPARATOR not in kind + subject
    return Key(origin or 0, kind, subject, where) if known else None
