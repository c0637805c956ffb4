"""Decisions in memory: what holds for a client and a model now.

Those of the detector, of an import and of people lie apart from each other, as they have keys and revisions of their own. So
none hides another: the detector may be harder than a person, and never lifts what a person decided. A revision that is not
greater than what is held for its key is dropped, and what has expired is kept for an hour, so that an old record cannot come
back as news.

One thread writes, another one reads. Both only get, set and remove single entries; what is iterated is replaced, never changed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from detector.contracts.decision import LADDER, ORIGINS, THROTTLED_TOO
from detector.gate.index import Index, Who
from detector.gate.packing import (
    Details,
    DetailsTable,
    details_of,
    expires_of,
    is_simulated,
    pack,
    rank_of,
    revision_of,
)
from detector.gate.records import ANYWHERE, CAMPAIGN, SEPARATOR, Key, Member, Record, key_of

__all__ = ["ALLOW", "BLOCK", "KEPT_MS", "PERTURB", "SHRINK_AT", "THROTTLE", "Found", "Store", "Who"]

ALLOW, ALERT, THROTTLE, PERTURB, BLOCK = range(len(LADDER))

KEPT_MS: Final = 3_600_000
"""How long what has expired is remembered."""

_OF_CAMPAIGN: Final = key_of(CAMPAIGN, "")[:-1]

SHRINK_AT: Final = 1000
"""So many decisions must go, and a quarter of what is held, before a sweep looks for what they have left behind."""


class Found(NamedTuple):
    """What holds now; `key` is the decision's, empty where none holds. `simulated` would hold if it were not simulated."""

    rank: int
    key: str
    details: Details
    simulated: int


class Store:
    """Live decisions. `set` and `remove` are for one thread, `find` for another."""

    def __init__(self) -> None:
        """Start empty."""
        self._sources: tuple[dict[str, int], ...] = tuple({} for _ in ORIGINS)
        self._table = DetailsTable()
        self._index = Index()
        self._members: dict[tuple[int, str], tuple[Member, ...]] = {}  # of campaigns, by origin and key of the decision
        self._gone = 0  # decisions since the index was built

    def __len__(self) -> int:
        """Return how many decisions are held, expired ones included."""
        return sum(map(len, self._sources))

    def set(self, record: Record, now_ms: int) -> bool:
        """Take a decision; return False where what is held is as new."""
        key, own = record.key.text, self._sources[record.key.origin]
        held = own.get(key)
        if held is not None and record.revision <= revision_of(held):
            return False
        if record.expires_ms + KEPT_MS < now_ms:
            self._gone += own.pop(key, None) is not None
            self._join(record.key.origin, key, ())
            return True
        number = self._table.number(record.details)
        own[key] = pack(record.rank, record.expires_ms, record.revision, number, simulated=record.simulated)
        self._index.add(record.key, record.models)
        if record.key.kind == CAMPAIGN:
            self._join(record.key.origin, key, record.members)
        return True

    def remove(self, key: Key) -> bool:
        """Forget a decision, as a record without a value asks for; return whether there was one."""
        known = self._sources[key.origin].pop(key.text, None) is not None
        self._gone += known
        if known:
            self._join(key.origin, key.text, ())
        return known

    def _join(self, origin: int, key: str, members: tuple[Member, ...]) -> None:
        """Let these be the accounts of the campaign that the decision at a key is about, besides those that others name."""
        before = self._members.pop((origin, key), ())
        if not before and not members:
            return
        campaign = _parts(key)[1]
        if gone := set(before).difference(members):
            for (_, other), named in self._members.items():
                if _parts(other)[1] == campaign:
                    gone.difference_update(named)
        self._index.leave(campaign, gone)
        self._index.join(campaign, members)
        if members:
            self._members[origin, key] = members

    def find(self, who: Who, model: str | None, now_ms: int, path: str | None = None) -> Found:
        """Return what holds: the hardest decision, but an ``allow`` of a person over all that others say.

        An ``allow`` about a campaign holds against the decisions about that campaign alone: its accounts may have more against
        them.

        Without a `model` every decision about the client counts, whatever its model; an ``allow`` for some models then holds
        against decisions for these alone. Decisions for routes hold where `path` is one of them or below it; without a `path`
        all of them hold but an ``allow``. So nobody gains by hiding what he asks for.
        """
        best: tuple[int, int, str, int] | None = None  # rank, strictness, key, entry
        simulated = 0
        pardoned: dict[str, set[str]] = {}  # models by campaign, which a person or an import allows
        allowed: set[str] = set()  # models; the end of a key for all of them is one more
        index = self._index  # the other thread may put another one in its place
        for source in reversed(self._sources):
            above = frozenset(allowed)
            for key in index.keys(who, model) if source else ():
                entry = source.get(key)
                if entry is None or expires_of(entry) <= now_ms or (above and _models_of(key) <= above):
                    continue
                campaign = _campaign_of(key)
                if campaign in pardoned and (ANYWHERE in pardoned[campaign] or _models_of(key) <= pardoned[campaign]):
                    continue
                details = self._table.rows[details_of(entry)]
                rank = rank_of(entry)
                if details.routes is not None and not (rank != ALLOW if path is None else _is_below(path, details.routes)):
                    continue
                if is_simulated(entry):
                    simulated = max(simulated, rank)
                    continue
                if rank == ALLOW and campaign:
                    pardoned.setdefault(campaign, set()).update(_models_of(key))
                    continue
                if rank == ALLOW:
                    allowed |= _models_of(key)
                candidate = (rank, -(details.requests_per_minute or 0), key, entry)
                if best is None or candidate > best:
                    best = candidate
            if allowed and (model is not None or ANYWHERE in allowed):
                break
        if best is None:
            return Found(ALLOW, "", self._table.rows[0], simulated)
        return Found(best[0], best[2], self._table.rows[details_of(best[3])], simulated)

    def sweep(self, now_ms: int) -> Counter[str]:
        """Forget what expired an hour ago; return how many live decisions there are, by action, or "simulated"."""
        live: Counter[str] = Counter()
        for origin, source in enumerate(self._sources):
            for key in list(source):
                entry = source[key]
                if expires_of(entry) > now_ms:
                    live["simulated" if is_simulated(entry) else LADDER[rank_of(entry)]] += 1
                elif expires_of(entry) + KEPT_MS < now_ms:
                    del source[key]
                    self._gone += 1
                    self._join(origin, key, ())
        if self._gone >= max(SHRINK_AT, len(self) // 4):
            self._shrink()
        return live

    def _shrink(self) -> None:
        """Forget models, networks and details that no decision names any more: a gate runs for months."""
        index, used = Index(), set()
        for origin, source in enumerate(self._sources):
            for key, entry in source.items():
                kind, subject, where = _parts(key)
                index.add(Key(origin, kind, subject, where), _models_at(where))
                used.add(details_of(entry))
        for (_, key), members in self._members.items():
            index.join(_parts(key)[1], members)
        self._index = index
        self._table.keep(used)
        self._gone = 0

    def dump(self) -> Iterator[tuple[int, str, int, Details]]:
        """Yield what is held: the place of its origin, its key, the packed decision and its details."""
        for origin, source in enumerate(self._sources):
            for key in list(source):
                entry = source.get(key)
                if entry is not None:
                    yield origin, key, entry, self._table.rows[details_of(entry)]

    def load(self, origin: int, key: str, entry: int, details: Details, members: tuple[Member, ...] = ()) -> None:
        """Take what `dump` yielded, and its `members`. Raises `ValueError` and `IndexError` where it is none of the store's."""
        kind, subject, where = _parts(key)
        number = self._table.number(details)
        packed = pack(rank_of(entry), expires_of(entry), revision_of(entry), number, simulated=is_simulated(entry))
        self._sources[origin][key] = packed
        self._index.add(Key(origin, kind, subject, where), _models_at(where))
        if kind == CAMPAIGN:
            self._join(origin, key, members)

    def members(self, origin: int, key: str) -> tuple[Member, ...]:
        """Return the accounts of the campaign that a decision is about."""
        return self._members.get((origin, key), ())

    def revisions(self) -> Mapping[tuple[int, str], int]:
        """Return the revision held for each origin and key, for tests and diagnosis."""
        return {(origin, key): revision_of(entry) for origin, key, entry, _ in self.dump()}

    @property
    def is_bound(self) -> bool:
        """Whether a decision is bound to an address, which only a gate that knows addresses can obey."""
        return self._index.is_bound

    @property
    def extent(self) -> int:
        """How many models, networks and details are known besides the decisions themselves; a measure of memory."""
        return len(self._index) + len(self._table)


def _parts(key: str) -> tuple[str, str, str]:
    """Return type, subject and place: from the left, since only the name of a model may hold a separator as well."""
    subject, separator, where = key.partition(SEPARATOR)
    if separator and subject:
        return "client", subject, where
    parts = where.split(SEPARATOR, 2)
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    raise ValueError("no key of a decision")


def _campaign_of(key: str) -> str:
    """Return the campaign that a key is about, empty for any other subject; its accounts that are throttled have a key, too."""
    if not key.startswith(_OF_CAMPAIGN):
        return ""
    return key[len(_OF_CAMPAIGN) :].partition(SEPARATOR)[0].removesuffix(THROTTLED_TOO)


def _models_at(where: str) -> tuple[str, ...]:
    return tuple(_unescaped(name) for name in where.partition(ANYWHERE)[0].split(",") if name)


def _unescaped(name: str) -> str:
    for character in ":,*":
        name = name.replace(f"%{ord(character):02X}", character)
    return name.replace("%25", "%")


def _models_of(key: str) -> frozenset[str]:
    """Return the models at the end of a key, escaped; `ANYWHERE` alone where it holds for all."""
    where = _parts(key)[2].partition(ANYWHERE)[0]
    return frozenset(where.split(",")) if where else frozenset({ANYWHERE})


def _is_below(path: str, routes: tuple[str, ...]) -> bool:
    return any(path == route or path.startswith(route.rstrip("/") + "/") for route in routes)
