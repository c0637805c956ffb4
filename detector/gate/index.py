"""Under which keys decisions about a request may be held.

Keys end in the models that a decision names, and subjects may be networks, so the keys of a request do not follow from its
headers alone. An index knows which ends and networks there are. It only grows: what no decision needs any more goes when a new
index is built from the keys that are held.

One thread adds, another one reads. What is iterated is replaced or grows at its end, and is never changed.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final, NamedTuple

from detector.contracts.decision import CLIENT_KINDS, escaped, key_end
from detector.contracts.network import address_of
from detector.gate.records import ANYWHERE, CAMPAIGN, SEPARATOR, Key, Member, key_of

__all__ = ["Index", "Who"]

_OTHER_NAMES: Final = tuple(kind for kind in CLIENT_KINDS if kind != "client")


class Who(NamedTuple):
    """Whom a request comes from, as far as the gate knows."""

    client: str
    organization: str | None = None
    campaigns: tuple[str, ...] = ()
    address: str | None = None  # as it was given
    network: str | None = None  # as decisions spell it


class Index:
    """The ends of keys, and the networks. `add` is for one thread, `keys` for another."""

    def __init__(self) -> None:
        """Start empty."""
        self.is_bound = False  # whether a decision is bound to an address
        self._kinds: frozenset[str] = frozenset()
        self._places: set[str] = set()  # ends of keys but the one for all models; one thread's alone
        self._all_places: list[str] = []  # the same, for the other: it only grows at its end
        self._groups: dict[str, tuple[str, ...]] = {}  # ends of keys that name several models, by model
        self._networks: dict[tuple[int, int, int], tuple[str, ...]] = {}  # by version, length and bits of the prefix
        self._campaigns: dict[str, tuple[tuple[str, str | None], ...]] = {}  # and the address, by client
        self._lengths: frozenset[tuple[int, int]] = frozenset()  # versions and lengths that are there

    def __len__(self) -> int:
        """Return how many ends and networks there are."""
        return len(self._places) + len(self._networks) + len(self._campaigns)

    def add(self, key: Key, models: tuple[str, ...]) -> None:
        """Note the key of a decision that names these models; none where it holds for all."""
        if key.kind != "client" and key.kind not in self._kinds:
            self._kinds |= {key.kind}
        place, star, _ = key.where.partition(ANYWHERE)
        self.is_bound = self.is_bound or bool(star and key.where != ANYWHERE)
        if place and place not in self._places:
            self._places.add(place)
            self._all_places.append(place)
            for model in models if len(models) > 1 else ():
                self._groups[model] = (*self._groups.get(model, ()), place)
        if key.kind == "cidr":
            self._add_network(key.subject)

    def join(self, campaign: str, members: Iterable[Member]) -> None:
        """Note the accounts of a campaign."""
        for member in members:
            known = self._campaigns.get(member.client, ())
            if (campaign, member.address) not in known:
                self._campaigns[member.client] = (*known, (campaign, member.address))

    def leave(self, campaign: str, members: Iterable[Member]) -> None:
        """Forget that these accounts are of a campaign."""
        for member in members:
            rest = tuple(one for one in self._campaigns.get(member.client, ()) if one != (campaign, member.address))
            if rest:
                self._campaigns[member.client] = rest
            else:
                self._campaigns.pop(member.client, None)

    def _campaigns_of(self, who: Who) -> Iterator[str]:
        """Yield the campaigns that a request's client is said to be of, and those whose decisions name it."""
        yield from who.campaigns
        for campaign, address in self._campaigns.get(who.client, ()):
            if (address is None or address == who.network) and campaign not in who.campaigns:
                yield campaign

    def _add_network(self, subject: str) -> None:
        try:
            network = ip_network(subject, strict=False)
        except ValueError:
            return
        prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        known = self._networks.get((network.version, network.prefixlen, prefix), ())
        if subject not in known:
            self._networks[network.version, network.prefixlen, prefix] = (*known, subject)
            self._lengths |= {(network.version, network.prefixlen)}

    def keys(self, who: Who, model: str | None) -> Iterator[str]:
        """Yield the keys of all decisions that may meet a request for a model; without one, for any."""
        places = self._places_of(model)
        is_name = SEPARATOR not in who.client  # else it is like the key of another client and a model
        if is_name:
            yield from self._keys_at(who.client + SEPARATOR, places, who.network)
        kinds = self._kinds
        if not kinds:
            return
        for kind in _OTHER_NAMES if is_name else ():
            if kind in kinds:
                yield from self._keys_at(key_of(kind, who.client), places, who.network)
        if who.organization is not None and "organization" in kinds:
            yield from self._keys_at(key_of("organization", who.organization), places, None)
        for campaign in self._campaigns_of(who) if CAMPAIGN in kinds else ():
            yield from self._keys_at(key_of(CAMPAIGN, campaign), places, None)
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
        if self.is_bound and network is not None:
            end = key_end(None, network)  # "**" and the address: both stars belong to it
            for place in places:
                yield start + (place + end[1:] if place != ANYWHERE else end)

    def _places_of(self, model: str | None) -> tuple[str, ...]:
        if model is None:
            return (ANYWHERE, *self._all_places)
        groups = self._groups.get(model)
        return (ANYWHERE, escaped(model)) if groups is None else (ANYWHERE, escaped(model), *groups)
