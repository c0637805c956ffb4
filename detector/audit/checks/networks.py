"""Clients and networks: one id from many networks, many ids from one.

A shared or stolen key comes from several networks at a time: the check looks for returns to a network within ten minutes,
which a caller who travels does not make. Many ids of one network are one caller with many accounts, or many behind one
proxy: the log cannot tell, so it is never more than a hint.

Networks are 24 bits of IPv4 and 48 bits of IPv6. Blind to: callers who share one address; addresses of a proxy in place of
theirs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen, network
from detector.audit.table import Table

__all__ = ["Networks"]

_SHARED: Final = ("AISVS v1.0-C11.2.2", "ASVS v5.0.0-8.2.4")
_CROWD: Final = ("AISVS v1.0-C11.2.2", "ASVS v5.0.0-2.4.1")

RETURN_MS: Final = 600_000
LEAST_NETWORKS: Final = 3  # two are a machine with two ways out, or with IPv4 and IPv6
LEAST_RETURNS: Final = 8
LEAST_IDS: Final = 8
TIMES_USUAL: Final = 4  # above the median of the other networks
_MOST: Final = 64  # networks of a client, or clients of a network, that are counted
_MOST_AGENTS: Final = 16


@dataclass(slots=True)
class _Client:
    """The networks of one client."""

    seen_ms: dict[str, int] = field(default_factory=dict)  # when each network was last used
    agents: set[int] = field(default_factory=set)
    last: str = ""
    returns: int = 0
    ids: list[str] = field(default_factory=list)

    def note(self, seen: Seen, place: str) -> None:
        if place != self.last:
            before = self.seen_ms.get(place)
            if before is not None and seen.time_ms - before <= RETURN_MS:
                self.returns += 1
                if len(self.ids) < EXAMPLES:
                    self.ids.append(seen.event.event_id)
            self.last = place
        if place in self.seen_ms or len(self.seen_ms) < _MOST:
            self.seen_ms[place] = seen.time_ms
        agent = seen.event.client.user_agent
        if agent is not None and len(self.agents) < _MOST_AGENTS:
            self.agents.add(hash(agent))


class Networks(Check):
    """One id from many networks, many ids from one network."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._clients: Table[str, _Client] = Table(_Client)
        self._networks: Table[str, dict[str, str]] = Table(dict)  # clients, and an event of each
        self._events = self._placed = 0

    def take(self, seen: Seen) -> None:
        """Note where a client asked from."""
        self._events += 1
        place = network(seen.event.client.ip)
        if place is None:
            return
        self._placed += 1
        self._clients[seen.client].note(seen, place)
        clients = self._networks[place]
        if seen.client not in clients and len(clients) < _MOST:
            clients[seen.client] = seen.event.event_id

    def results(self) -> Iterator[Result]:
        """Say who came from where."""
        if not self._placed:
            why = "no event has an address: log client.ip"
            yield Unjudged("identity.shared", "One id from many networks", _SHARED, why)
            yield Unjudged("identity.crowd", "Many ids from one network", _CROWD, why)
            return
        yield self._shared()
        yield self._crowd()

    def _about(self) -> str:
        evicted = self._clients.evicted + self._networks.evicted
        return f"; of the clients and networks seen last, {evicted:,} made room" if evicted else ""

    def _shared(self) -> Result:
        name, title = "identity.shared", "One id from many networks"
        clients = list(self._clients.items())
        shared = [(who, row) for who, row in clients if len(row.seen_ms) >= LEAST_NETWORKS and row.returns >= LEAST_RETURNS]
        if not shared:
            most = max((len(row.seen_ms) for _, row in clients), default=0)
            return Clear(
                name,
                title,
                _SHARED,
                f"{len(clients):,} clients, at most {most} networks each, none of them in turns{self._about()}",
                {"clients": len(clients), "most_networks": most},
            )
        shared.sort(key=lambda item: (-item[1].returns, item[0]))
        who, row = shared[0]
        return Finding(
            name,
            title,
            _SHARED,
            "medium",
            f"a key in use from {LEAST_NETWORKS} networks or more in turns within minutes is shared or stolen, or belongs to "
            "a service "
            "with several ways out: the log cannot tell which",
            f"{len(shared):,} of {len(clients):,} clients. Most: {who}, {_count(row.seen_ms)} networks, back and forth "
            f"{row.returns:,} "
            f"times within ten minutes, {len(row.agents)} user agents{self._about()}",
            "give each caller a key of its own, and ask these clients how many use theirs",
            {
                "clients": len(shared),
                "of": len(clients),
                "worst": [
                    {"client": who, "networks": len(row.seen_ms), "returns": row.returns, "user_agents": len(row.agents)}
                    for who, row in shared[:EXAMPLES]
                ],
            },
            tuple(row.ids),
        )

    def _crowd(self) -> Result:
        name, title = "identity.crowd", "Many ids from one network"
        networks = sorted(self._networks.items(), key=lambda item: (-len(item[1]), item[0]))
        if len(networks) == 1:
            return Unjudged(name, title, _CROWD, f"every address is in {networks[0][0]}: log the callers', not a proxy's")
        usual = median(len(clients) for _, clients in networks)
        crowded = [(place, row) for place, row in networks if len(row) >= max(LEAST_IDS, TIMES_USUAL * usual)]
        figures = {"networks": len(networks), "median": usual}
        if not crowded:
            seen = f"{len(networks):,} networks, at most {len(networks[0][1])} clients each{self._about()}"
            return Clear(name, title, _CROWD, seen, figures)
        place, row = crowded[0]
        return Finding(
            name,
            title,
            _CROWD,
            "low",
            "limits per client do not bind one caller with many ids; many callers behind one proxy look the same",
            f"{len(crowded):,} of {len(networks):,} networks have {TIMES_USUAL} times as many clients as the usual {usual:g}. "
            "Most: "
            f"{place}, {_count(row)} clients{self._about()}",
            "limit new accounts, and all clients of a model together ([gate] model_requests_per_second); leave campaigns on "
            "([links])",
            figures | {"worst": [{"network": place, "clients": len(row)} for place, row in crowded[:EXAMPLES]]},
            tuple(row.values())[:EXAMPLES],
        )


def _count(names: dict[str, int] | dict[str, str]) -> str:
    return f"{len(names)}" if len(names) < _MOST else f"{_MOST} or more"
