"""Which decision was in force for a client at a moment of the log, as a gate that knew all of it would have said.

The gate's own store decides (`detector.gate.store`), so organisations, campaigns, addresses and lifts hold here as they do
there. A log does not say which route was asked for. So decisions for some routes only never prove a gap: a harder one counts as
none, and an ``allow`` as if it held for every route.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from detector.audit.trail import Entry
from detector.contracts.decision import ORIGINS
from detector.contracts.network import network_of
from detector.gate.packing import NO_DETAILS
from detector.gate.store import ALLOW, Store, Who

__all__ = ["NOTHING", "Caller", "Force", "Standing"]

_ALERT: Final = 1


class Caller(NamedTuple):
    """Whom a query came from, as far as the log says."""

    client: str
    organization: str | None = None
    address: str | None = None


class Standing(NamedTuple):
    """What was in force for a query: the place on the ladder of actions, since when, and of a throttle its rate.

    `simulated` is the place that simulated decisions would have had. `key` names the decision.
    """

    rank: int
    since_ms: int
    key: str
    rate: int | None
    simulated: int


NOTHING: Final = Standing(ALLOW, 0, "", None, ALLOW)


class _Run(NamedTuple):
    """Decisions of one key that follow each other without a gap at one place of the ladder."""

    rank: int
    since_ms: int
    expires_ms: int


class Force:
    """Goes through decisions as time passes. `at` must be asked in the order of the log."""

    def __init__(self, entries: Sequence[Entry], latest_ms: int | None = None) -> None:
        """Begin before the first of `entries`, which are sorted by time.

        A query dated after `latest_ms` is not believed: one from the next century would be asked after every decision has
        ended.
        """
        self._entries = entries
        self._latest_ms = latest_ms
        self._next = 0
        self._store = Store()
        self._runs: dict[tuple[int, str], _Run] = {}
        self.by_route = 0  # decisions taken that hold for some routes only

    def at(self, caller: Caller, model: str, time_ms: int) -> Standing:
        """Return what was in force for a query at a time: decisions made at that very millisecond are not yet."""
        entries = self._entries
        if self._latest_ms is not None and time_ms > self._latest_ms:
            return NOTHING
        while self._next < len(entries) and entries[self._next].issued_ms < time_ms:
            self._take(entries[self._next])
            self._next += 1
        if not self._next:
            return NOTHING
        # Few decisions are bound to an address, and to read addresses takes longer than everything else.
        network = network_of(caller.address or "") if self._store.is_bound else None
        who = Who(caller.client, caller.organization, (), caller.address, network)
        found = self._store.find(who, model, time_ms, "")
        if not found.key:
            return NOTHING if found.simulated == ALLOW else Standing(ALLOW, 0, "", None, found.simulated)
        since_ms = self._since(found.rank, found.key, time_ms)
        if since_ms >= time_ms:  # an event out of order, older than the decision
            return NOTHING
        return Standing(found.rank, since_ms, found.key, found.details.requests_per_minute, found.simulated)

    def _take(self, entry: Entry) -> None:
        record = entry.record
        if record.details.routes is not None:
            self.by_route += 1
            details = record.details._replace(routes=None)
            record = (
                record._replace(details=details) if record.rank == ALLOW else record._replace(rank=_ALERT, details=NO_DETAILS)
            )
        if not self._store.set(record, entry.issued_ms):
            return
        at = (record.key.origin, record.key.text)
        rank = -1 if record.simulated else record.rank
        before = self._runs.get(at)
        goes_on = before is not None and before.rank == rank and entry.issued_ms <= before.expires_ms
        since_ms = before.since_ms if before is not None and goes_on else entry.issued_ms
        self._runs[at] = _Run(rank, since_ms, record.expires_ms)

    def _since(self, rank: int, key: str, time_ms: int) -> int:
        """Return since when what holds at a time has held; of several origins under one key the earliest."""
        runs = [run for origin in range(len(ORIGINS)) if (run := self._runs.get((origin, key))) is not None]
        return min((run.since_ms for run in runs if run.rank == rank and run.expires_ms > time_ms), default=time_ms)
