"""Organisations: what the accounts of one organisation were told, and how much of the model they hold together.

The log names the organisation of an account (`client.organization`). Queries of accounts that are not vouched for count for no
organisation: whoever writes another one's name must not use up its budget. An organisation is measured once a second account
asks under its name; what a single account holds is measured as that client's.

A copy is learned from a sample of its queries (see `latest`), from 32 queries on, each time that it has asked a quarter more.

Blind to: accounts whose organisation the log does not name, and what was asked before the second account came and is not among
the latest queries of the model any more.

Bounded: `MOST_KNOWN` organisations are counted, the one that has been silent longest leaves, unless a budget of it was met.
`MOST_MEASURED` have a sample of `SAMPLED_EACH` queries. The one that asked least makes room for one that asked more; one that
met a budget stays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.findings import Reading
from detector.engine.links.latest import Latest, Sample
from detector.engine.links.sketch import Sketches
from detector.engine.memory.metered import FIRST_READING, GROWTH
from detector.engine.policy import BLOCK
from detector.errors import SnapshotError
from detector.ingest.batch import Sender

LEAST_MEMBERS = 2  # accounts from which an organisation is measured
MOST_KNOWN = 1024
MOST_MEASURED = 64
SAMPLED_EACH = 160  # queries: a copy learned from more is hardly better, see `odometer.meters`
NOBODY = 0  # the number of no organisation


@dataclass(slots=True)
class Organization:
    """An organisation that asks: its new `queries`, and the first `members`, no more than are needed to measure it.

    The next reading is due at `due` queries. What follows is for its budget: `level` is the hardest action that its lead has
    called for, and `held` the action of its latest decision, until `held_until_ms`; `judged_ms` is when it was last judged, and
    `held_back` the latest episode in which its stop was held back (see `guard`).
    """

    number: int
    name: str
    first_ms: int
    queries: int = 0
    members: list[int] = field(default_factory=list)
    due: int = FIRST_READING
    sample: Sample | None = None
    level: int = 0
    alerted: int = 0
    revision: int = 0
    held: int = 0
    simulated: bool = False
    held_until_ms: int = 0
    judged_ms: int = 0
    held_back: int = 0


class Organizations:
    """The organisations whose accounts ask one model; `number_of` gives a name a number that nobody can choose."""

    def __init__(self, latest: Latest, number_of: Callable[[str], int], is_vouched: Callable[[Sender], bool]) -> None:
        self.known: dict[int, Organization] = {}  # by number, the one that asked last at the end
        self._latest = latest
        self._number_of = number_of
        self._is_vouched = is_vouched
        self._names: dict[int, str] = {}  # of the queries that were taken in last

    @property
    def nbytes(self) -> int:
        """The memory of the samples, in bytes."""
        return sum(found.sample.rows.nbytes for found in self.measured() if found.sample is not None)

    def measured(self) -> Iterator[Organization]:
        """Yield the organisations that have a sample."""
        return (found for found in self.known.values() if found.sample is not None)

    def numbers(self, sketches: Sketches) -> npt.NDArray[np.uint32]:
        """Return the number of the organisation of each query (n,), `NOBODY` where nobody who is vouched for names one."""
        found = np.zeros(len(sketches), np.uint32)
        self._names = {}
        known: dict[int, int] = {}  # by sender: a log has few of them
        for place, sender in enumerate(sketches.sender):
            if sender.organization is None:
                continue
            number = known.get(id(sender))
            if number is None:
                number = NOBODY
                if sender.organization and self._is_vouched(sender):
                    number = self._number_of(sender.organization) % (2**32 - 1) + 1
                    self._names[number] = sender.organization
                known[id(sender)] = number
            found[place] = number
        return found

    def asks(self, number: int, account: int, time_ms: int) -> Organization:
        """Count a new query of an account for its organisation, and return that."""
        found = self.known.pop(number, None) or Organization(number, self._names[number], time_ms)
        self.known[number] = found
        found.queries += 1
        if len(found.members) < LEAST_MEMBERS and account not in found.members:
            found.members.append(account)
            self._measure(found)
        if len(self.known) > MOST_KNOWN:
            self._forget()
        return found

    def gather(self) -> None:
        """Let organisations take their queries out of the ring, before it forgets them."""
        for found in self.measured():
            if found.sample is not None:
                self._latest.add_organization(found.sample, found.number, SAMPLED_EACH)

    def is_due(self, found: Organization) -> bool:
        """Tell whether an organisation is to be read by its schedule."""
        return len(found.members) >= LEAST_MEMBERS and found.queries >= found.due

    def read(self, found: Organization, uid: int) -> Reading | None:
        """Read what an organisation holds, now that the query `uid` is at hand.

        Returns the highest reading so far, None where too little is retained for one.
        """
        found.due = int(GROWTH * max(found.queries, FIRST_READING))
        self._measure(found)
        if found.sample is None:
            return None
        self._latest.write(uid)
        self._latest.add_organization(found.sample, found.number, SAMPLED_EACH)
        if len(found.sample.rows) >= FIRST_READING:
            self._latest.read(found.sample, found.queries)
        return self.reading(found)

    def reading(self, found: Organization) -> Reading | None:
        """Return the highest reading of an organisation, None where there is none."""
        return None if found.sample is None else self._latest.reading(found.sample)

    def leads(self) -> dict[str, float]:
        """Return the highest lead of each organisation that was read, by name."""
        readings = ((found.name, self.reading(found)) for found in self.measured())
        return {name: reading.lead for name, reading in readings if reading is not None}

    def _measure(self, found: Organization) -> None:
        """Give an organisation a sample, where it has none, two accounts, and there is room or one that asked less."""
        if found.sample is not None or len(found.members) < LEAST_MEMBERS:
            return
        others = list(self.measured())
        if len(others) >= MOST_MEASURED:
            least = min(others, key=lambda other: (bool(other.level), other.queries, other.number))
            if least.level or least.queries >= found.queries:
                return
            least.sample = None
        found.sample = Sample()

    def _forget(self) -> None:
        """Forget the organisation that has been silent longest, of those that never met a budget if there are any."""
        gone = next((number for number, found in self.known.items() if not found.level), next(iter(self.known)))
        del self.known[gone]

    def state(self) -> list[Any]:
        """Return it as plain data."""
        return [
            [getattr(found, name) for name in _PLAIN]
            + ([] if (own := found.sample) is None else [own.rows.tobytes(), own.queries, own.right, own.version])
            for found in self.known.values()
        ]

    def restore(self, state: Sequence[Any]) -> None:
        """Restore what `state` returned. Raises `SnapshotError` where it is damaged."""
        try:
            for row in state:
                found = self._restored(row)
                self.known[found.number] = found
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"the saved links are damaged: what organisations hold: {error!r}") from error

    def _restored(self, row: Sequence[Any]) -> Organization:
        plain, sampled = row[: len(_PLAIN)], row[len(_PLAIN) :]
        found = Organization(**dict(zip(_PLAIN, plain, strict=True)))
        numbers = (found.number, found.queries, found.due, found.revision, found.level, found.held, *found.members)
        if not isinstance(found.name, str) or min(numbers) < 0 or max(found.level, found.held) > BLOCK:
            raise SnapshotError("the saved links are damaged: an organisation asked what cannot be")
        if sampled:
            rows, queries, right, version = sampled
            found.sample = self._latest.restored(rows, queries, right, version, SAMPLED_EACH)
        return found


_PLAIN = tuple(name for name in Organization.__dataclass_fields__ if name != "sample")
