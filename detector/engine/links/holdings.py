"""Holdings: what the accounts of a campaign were told, and how much of the model they hold together.

An account of a spread theft holds next to nothing by itself. So of each campaign a sample is kept: of the queries that its
named accounts have among the latest of the model, and of all that they ask since (see `latest`). A copy is learned from the
sample each time that the campaign has asked a quarter more.

Blind to: what a named account asked before the ring of the latest queries began.

Bounded: `MOST_CAMPAIGNS` campaigns, each with one sample.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.engine.findings import Reading
from detector.engine.links.groups import Groups
from detector.engine.links.joined import Group
from detector.engine.links.latest import Latest, Sample
from detector.engine.memory.metered import FIRST_READING, GROWTH
from detector.errors import SnapshotError

MOST_CAMPAIGNS = 64


@dataclass(slots=True)
class Holding:
    """What is kept of one campaign.

    `member` is an account of the group, by which the campaign is found again where its group has merged. The next reading is
    due at `due` queries of the group. `met` tells whether the budget of campaigns was met.
    """

    member: int
    sample: Sample = field(default_factory=Sample)
    due: int = 0
    met: bool = False


class Holdings:
    """The holdings of one model's campaigns."""

    def __init__(self, latest: Latest) -> None:
        self.campaigns: dict[int, Holding] = {}  # by number of the group, the one read last at the end
        self._latest = latest

    @property
    def nbytes(self) -> int:
        """The memory of the samples, in bytes."""
        return sum(held.sample.rows.nbytes for held in self.campaigns.values())

    def gather(self, groups: Groups) -> None:
        """Let campaigns take their queries out of the ring, before it forgets them."""
        self._follow(groups)
        for number, held in self.campaigns.items():
            self._latest.add_accounts(held.sample, groups.groups[number].named)

    def is_due(self, group: Group) -> bool:
        """Tell whether a campaign is to be read by its schedule."""
        held = self.campaigns.get(group.number)
        return group.queries >= (FIRST_READING if held is None else held.due)

    def read(self, group: Group, groups: Groups, uid: int) -> Reading | None:
        """Read what the named accounts of a campaign hold together, now that the query `uid` is at hand.

        Returns the highest reading so far, None where too little is retained for one.
        """
        if not group.named:
            return None
        self._latest.write(uid)
        self._follow(groups)
        held = self.campaigns.pop(group.number, None) or Holding(group.named[0])
        self.campaigns[group.number] = held
        if len(self.campaigns) > MOST_CAMPAIGNS:
            del self.campaigns[next(iter(self.campaigns))]
        self._latest.add_accounts(held.sample, group.named)
        held.due = int(GROWTH * max(group.queries, FIRST_READING))
        if len(held.sample.rows) >= FIRST_READING:
            self._latest.read(held.sample, sum(groups.grouped[number].queries for number in group.named))
        return self.reading(group.number)

    def reading(self, number: int) -> Reading | None:
        """Return the highest reading of the campaign whose group has this number, None where there is none."""
        held = self.campaigns.get(number)
        return None if held is None else self._latest.reading(held.sample)

    def meets(self, number: int, limit: float) -> bool:
        """Tell whether a campaign holds a lead of `limit`, and note it where it does; once it did, it has met the budget."""
        held, found = self.campaigns.get(number), self.reading(number)
        if held is None or found is None or found.lead < limit:
            return False
        held.met = True
        return True

    def has_met(self, number: int) -> bool:
        """Tell whether a campaign has ever met the budget."""
        held = self.campaigns.get(number)
        return held is not None and held.met

    def _follow(self, groups: Groups) -> None:
        """Follow campaigns whose groups have merged into others, and forget those whose groups are gone."""
        for number in [number for number in self.campaigns if number not in groups.groups]:
            gone = self.campaigns.pop(number)
            account = groups.grouped.get(gone.member)
            if account is None:
                continue
            kept = self.campaigns.setdefault(account.group, Holding(gone.member))
            kept.sample.rows = self._latest.drawn(np.concatenate([kept.sample.rows, gone.sample.rows]))
            kept.sample.take_reading(gone.sample)
            kept.met = kept.met or gone.met

    def state(self) -> list[Any]:
        """Return it as plain data."""
        return [
            [
                number,
                held.member,
                held.sample.rows.tobytes(),
                held.sample.queries,
                held.sample.right,
                held.sample.version,
                held.due,
                held.met,
            ]
            for number, held in self.campaigns.items()
        ]

    def restore(self, state: list[Any]) -> None:
        """Restore what `state` returned. Raises `SnapshotError` where it is damaged."""
        try:
            for number, member, rows, queries, right, version, due, met in state:
                sample = self._latest.restored(rows, queries, right, version)
                self.campaigns[number] = Holding(member, sample, max(due, 0), bool(met))
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"the saved links are damaged: what campaigns hold: {error!r}") from error
