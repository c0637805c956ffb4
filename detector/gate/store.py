"""Decisions in memory: what holds for a client and a model now.

Those of the detector, of an import and of people lie apart from each other, as they have keys and revisions of their own. So
none hides another: the detector may be harder than a person, and never lifts what a person decided. A revision that is not
greater than what is held for its key is dropped, and what has expired is kept for an hour, so that an old record cannot come
back as news.

One thread writes, another one reads. Both only get, set and remove single entries; what is iterated is replaced, never changed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Final, NamedTuple

from detector.contracts.decision import LADDER, ORIGINS, escaped, key_end
from detector.contracts.network import address_of
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
from detector.gate.records import ANYWHERE, SEPARATOR, Key, Record, key_of

__all__ = ["ALLOW", "BLOCK", "KEPT_MS", "PERTURB", "THROTTLE", "Found", "Store", "Who"]

ALLOW, ALERT, THROTTLE, PERTURB, BLOCK = range(len(LADDER))

KEPT_MS: Final = 3_600_000
"""How long what has expired is remembered."""

_CLIENT_KINDS: Final = ("api_key", "user")  # other names for whom a request comes from


class Who(NamedTuple):
    """Whom a request comes from, as far as the gate knows."""

    client: str
    organization: str | None = None
    campaigns: tuple[str, ...] = ()
    address: str | None = None  # as it was given
    network: str | None = None  # as decisions spell it


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
        self._kinds: frozenset[str] = frozenset()
        self._places: set[str] = set()  # ends of keys but the one for all models; one thread's alone
        self._all_places: list[str] = []  # the same, for the other: it only grows at its end
        self._bound = False  # whether a decision is bound to an address
        self._groups: dict[str, tuple[str, ...]] = {}  # ends of keys that name several models, by model
        self._networks: dict[tuple[int, int, int], tuple[str, ...]] = {}  # by version, length and bits of the prefix
        self._lengths: frozenset[tuple[int, int]] = frozenset()  # versions and lengths that are there

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
            own.pop(key, None)
            return True
        number = self._table.number(record.details)
        own[key] = pack(record.rank, record.expires_ms, record.revision, number, simulated=record.simulated)
        self._index(record.key, record.models)
        return True

    def remove(self, key: Key) -> bool:
        """Forget a decision, as a record without a value asks for; return whether there was one."""
        return self._sources[key.origin].pop(key.text, None) is not None

    def _index(self, key: Key, models: tuple[str, ...]) -> None:
        if key.kind != "client" and key.kind not in self._kinds:
            self._kinds |= {key.kind}
        place, star, _ = key.where.partition(ANYWHERE)
        self._bound = self._bound or bool(star and key.where != ANYWHERE)
        if place and place not in self._places:
            self._places.add(place)
            self._all_places.append(place)
            for model in models if len(models) > 1 else ():
                self._groups[model] = (*self._groups.get(model, ()), place)
        if key.kind == "cidr":
            try:
                network = ip_network(key.subject, strict=False)
            except ValueError:
                return
            prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            known = self._networks.get((network.version, network.prefixlen, prefix), ())
            if key.subject not in known:
                self._networks[network.version, network.prefixlen, prefix] = (*known, key.subject)
                self._lengths |= {(network.version, network.prefixlen)}

    def find(self, who: Who, model: str | None, now_ms: int, path: str | None = None) -> Found:
        """Return what holds: the hardest decision, but an ``allow`` of a person over all that others say.

        Without a `model` every decision about the client counts, whatever its model; an ``allow`` for some models then holds
        against decisions for these alone. Decisions for routes hold where `path` is one of them or below it; without a `path`
        all of them hold but an ``allow``. So nobody gains by hiding what he asks for.
        """
        best: tuple[int, int, str, int] | None = None  # rank, strictness, key, entry
        simulated = 0
        allowed: set[str] = set()  # models; the end of a key for all of them is one more
        for source in reversed(self._sources):
            above = frozenset(allowed)
            for key in self._keys(who, model) if source else ():
                entry = source.get(key)
                if entry is None or expires_of(entry) <= now_ms or (above and _models_of(key) <= above):
                    continue
                details = self._table.rows[details_of(entry)]
                rank = rank_of(entry)
                if details.routes is not None and not (rank != ALLOW if path is None else _is_below(path, details.routes)):
                    continue
                if is_simulated(entry):
                    simulated = max(simulated, rank)
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

    def _keys(self, who: Who, model: str | None) -> Iterator[str]:
        places = self._places_of(model)
        yield from self._keys_at(who.client + SEPARATOR, places, who.network)
        kinds = self._kinds
        if not kinds:
            return
        for kind in _CLIENT_KINDS:
            if kind in kinds:
                yield from self._keys_at(key_of(kind, who.client), places, who.network)
        if who.organization is not None and "organization" in kinds:
            yield from self._keys_at(key_of("organization", who.organization), places, None)
        for campaign in who.campaigns if "campaign" in kinds else ():
            yield from self._keys_at(key_of("campaign", campaign), places, None)
        if who.address is not None and kinds & {"ip", "cidr"}:
            yield from self._keys_of_address(who.address, places)

    def _keys_of_address(self, address: str, places: tuple[str, ...]) -> Iterator[str]:
        yield from self._keys_at(key_of("ip", address), places, None)
        place = address_of(address)
        if place is None:
            return
        if str(place) != address:
            yield from self._keys_at(key_of("ip", str(place)), places, None)
        for version, length in self._lengths:
            if version == place.version:
                prefix = int(place) >> (place.max_prefixlen - length)
                for text in self._networks.get((version, length, prefix), ()):
                    yield from self._keys_at(key_of("cidr", text), places, None)

    def _keys_at(self, start: str, places: tuple[str, ...], network: str | None) -> Iterator[str]:
        for place in places:
            yield start + place
        if self._bound and network is not None:
            end = key_end(None, network)  # "**" and the address: both stars belong to it
            for place in places:
                yield start + (place + end[1:] if place != ANYWHERE else end)

    def _places_of(self, model: str | None) -> tuple[str, ...]:
        if model is None:
            return (ANYWHERE, *self._all_places)
        groups = self._groups.get(model)
        return (ANYWHERE, escaped(model)) if groups is None else (ANYWHERE, escaped(model), *groups)

    def sweep(self, now_ms: int) -> Counter[str]:
        """Forget what expired an hour ago; return how many live decisions there are, by action, or "simulated"."""
        live: Counter[str] = Counter()
        for source in self._sources:
            for key in list(source):
                entry = source[key]
                if expires_of(entry) > now_ms:
                    live["simulated" if is_simulated(entry) else LADDER[rank_of(entry)]] += 1
                elif expires_of(entry) + KEPT_MS < now_ms:
                    del source[key]
        return live

    def dump(self) -> Iterator[tuple[int, str, int, Details]]:
        """Yield what is held: the place of its origin, its key, the packed decision and its details."""
        for origin, source in enumerate(self._sources):
            for key in list(source):
                entry = source.get(key)
                if entry is not None:
                    yield origin, key, entry, self._table.rows[details_of(entry)]

    def load(self, origin: int, key: str, entry: int, details: Details) -> None:
        """Take what `dump` yielded. Raises `ValueError` and `IndexError` where it is none of the store's."""
        kind, subject, where = _parts(key)
        models = tuple(_unescaped(name) for name in where.partition(ANYWHERE)[0].split(",") if name)
        number = self._table.number(details)
        packed = pack(rank_of(entry), expires_of(entry), revision_of(entry), number, simulated=is_simulated(entry))
        self._sources[origin][key] = packed
        self._index(Key(origin, kind, subject, where), models)

    def revisions(self) -> Mapping[tuple[int, str], int]:
        """Return the revision held for each origin and key, for tests and diagnosis."""
        return {(origin, key): revision_of(entry) for origin, key, entry, _ in self.dump()}

    @property
    def is_bound(self) -> bool:
        """Whether a decision is bound to an address, which only a gate that knows addresses can obey."""
        return self._bound


def _parts(key: str) -> tuple[str, str, str]:
    parts = key.split(SEPARATOR)
    if len(parts) == 2:
        return "client", parts[0], parts[1]
    if len(parts) == 4 and not parts[0]:
        return parts[1], parts[2], parts[3]
    raise ValueError("no key of a decision")


def _unescaped(name: str) -> str:
    for character in ":,*":
        name = name.replace(f"%{ord(character):02X}", character)
    return name.replace("%25", "%")


def _models_of(key: str) -> frozenset[str]:
    """Return the models at the end of a key, escaped; `ANYWHERE` alone where it holds for all."""
    where = key[key.rindex(SEPARATOR) + 1 :].partition(ANYWHERE)[0]
    return frozenset(where.split(",")) if where else frozenset({ANYWHERE})


def _is_below(path: str, routes: tuple[str, ...]) -> bool:
    return any(path == route or path.startswith(route.rstrip("/") + "/") for route in routes)
