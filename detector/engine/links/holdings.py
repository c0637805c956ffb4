"""Holdings: what the accounts of a campaign were told, and how much of the model they hold together.

An account of a spread theft holds next to nothing by itself. So the latest queries of the model are kept in a ring, whoever
asked them, and of each campaign a sample: of those that its named accounts have in the ring, and of all that they ask since. A
copy is learned from the sample (see `odometer.meters`), each time that the campaign has asked a quarter more.

The sample are the queries with the lowest of secret numbers. It depends on which queries were seen, not on when, and two
samples of campaigns that merge make one. The ring is written up to the query at hand before it is read, so all is the same
however the stream is cut.

Blind to: what a named account asked before the ring began, and answers that the log does not tell as they were told.

Bounded: about 120 bytes for each query of the ring and of the samples, of which there are `MOST_SAMPLED` for a campaign, and
`MOST_CAMPAIGNS` campaigns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.findings import Reading
from detector.engine.links.groups import Group, Groups
from detector.engine.links.seeking.search import Links
from detector.engine.links.sketch import Sketches
from detector.engine.memory.metered import FIRST_READING, GROWTH, STEADY, versions_of
from detector.engine.memory.reservoir import COORDINATES, OUTDATED, SAMPLED, mix_all, round_margins
from detector.engine.odometer.meters import MOST_TOGETHER, read_together
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.view import Retained, view_of
from detector.errors import SnapshotError

RING_SHARE = 4  # of so many entries of the store, the ring has one
LEAST_RING = 256
MOST_SAMPLED = MOST_TOGETHER
MOST_CAMPAIGNS = 64
ROW = np.dtype(
    [
        ("uid", np.int64),
        ("account", np.uint64),
        ("z", np.int16, COORDINATES),
        ("c", np.uint8, SAMPLED),
        ("label", np.int32),
        ("margin", np.int16),
        ("version", np.uint16),
        ("perturbed", np.uint8),
    ]
)

Rows = npt.NDArray[np.void]


@dataclass(slots=True)
class Holding:
    """What is kept of one campaign: its sample, `rows` of `ROW` by `uid`, and its highest reading for the version it is of.

    `member` is an account of the group, by which the campaign is found again where its group has merged. A copy is `right`
    about so many reference inputs after `queries`, 0 where there was no reading. The next one is due at `due` queries of the
    group. `met` tells whether the budget of campaigns was met.
    """

    member: int
    rows: Rows = field(default_factory=lambda: np.zeros(0, ROW))
    queries: int = 0
    right: int = 0
    version: int = 0
    due: int = 0
    met: bool = False


class Holdings:
    """The holdings of one model's campaigns; `entries` is the size of the store of the search, `seed` a secret."""

    def __init__(self, reference_set: ReferenceSet, entries: int, seed: int) -> None:
        self.campaigns: dict[int, Holding] = {}  # by number of the group, the one read last at the end
        self._view = view_of(reference_set)
        self._seed = np.uint64(seed)
        self._half = max(entries // RING_SHARE, LEAST_RING) // 2
        self._latest = np.zeros(2 * self._half, ROW)
        self._waiting = np.zeros(0, ROW)
        self._written = 0

    @property
    def nbytes(self) -> int:
        """The memory of the ring and the samples, in bytes."""
        return self._latest.nbytes + sum(held.rows.nbytes for held in self.campaigns.values())

    def take(self, sketches: Sketches, account: npt.NDArray[np.uint64], links: Links) -> None:
        """Take in queries that are not repeats; they are written by `advance`, in time for whoever reads."""
        fresh = np.flatnonzero(~links.repeat)
        rows = np.zeros(len(fresh), ROW)
        for name in ("z", "c", "label", "perturbed"):
            rows[name] = getattr(sketches, name)[fresh]
        rows["uid"], rows["account"] = links.uid[fresh], account[fresh]
        rows["margin"] = margins_of(sketches.confidence[fresh], sketches.runner_up[fresh])
        rows["version"] = versions_of([sketches.version[i] for i in fresh.tolist()])
        self._waiting, self._written = rows, 0

    def advance(self, uid: int, groups: Groups) -> None:
        """Note that the query `uid` is at hand; before the ring would forget queries, campaigns take theirs out of it."""
        if uid % self._half:
            return
        self._write(uid)
        self._follow(groups)
        for number in self.campaigns:
            self._gather(groups.groups[number])

    def finish(self) -> None:
        """Write what is left of the queries that were taken in."""
        self._write(2**62)

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
        self._write(uid)
        self._follow(groups)
        held = self.campaigns.pop(group.number, None) or Holding(group.named[0])
        self.campaigns[group.number] = held
        if len(self.campaigns) > MOST_CAMPAIGNS:
            del self.campaigns[next(iter(self.campaigns))]
        self._gather(group)
        held.due = int(GROWTH * max(group.queries, FIRST_READING))
        if len(held.rows) >= FIRST_READING:
            queries = sum(groups.grouped[number].queries for number in group.named)
            self._note(held, max(queries, len(held.rows)))
        return self.reading(group.number)

    def reading(self, number: int) -> Reading | None:
        """Return the highest reading of the campaign whose group has this number, None where there is none."""
        held = self.campaigns.get(number)
        return None if held is None or not held.queries else self._view.reading(held.queries, held.right)

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

    def _note(self, held: Holding, queries: int) -> None:
        version = _version_of(held.rows["version"])
        told = held.rows["version"]
        # The two kinds of perturbation are neighbouring bits of a mark, in the same order.
        mark = np.left_shift(held.rows["perturbed"] & 3, 2) | np.where((told > 0) & (told != version), OUTDATED, 0)
        retained = Retained(
            np.ascontiguousarray(held.rows["z"]),
            np.ascontiguousarray(held.rows["c"]),
            np.ascontiguousarray(held.rows["label"]),
            mark.astype(np.uint8),
            np.ascontiguousarray(held.rows["margin"]),
        )
        if version != held.version:
            held.version, held.queries, held.right = version, 0, 0
        if np.all(mark & OUTDATED):
            return
        found = read_together(self._view, [retained], queries)
        right = round(found.agreement * len(self._view.judge.answers))
        if not held.queries or right > held.right:
            held.queries, held.right = queries, right

    def _write(self, uid: int) -> None:
        """Write the waiting queries up to this one into the ring."""
        end = int(np.searchsorted(self._waiting["uid"], uid, side="right"))
        rows = self._waiting[self._written : end]
        if len(rows):
            self._latest[rows["uid"] % len(self._latest)] = rows
            self._written = end

    def _gather(self, group: Group) -> None:
        """Add to a campaign's sample what its named accounts have in the ring."""
        held = self.campaigns[group.number]
        own = self._latest[np.isin(self._latest["account"], np.array(group.named, np.uint64))]
        held.rows = self._sampled(np.concatenate([held.rows, own]))

    def _sampled(self, rows: Rows) -> Rows:
        """Return each of the queries once, `MOST_SAMPLED` at the most, by `uid`."""
        rows = rows[np.unique(rows["uid"], return_index=True)[1]]
        if len(rows) <= MOST_SAMPLED:
            return rows
        drawn = np.empty(len(rows), np.uint64)
        mix_all(self._seed, np.ascontiguousarray(rows["uid"]), drawn)
        return rows[np.sort(np.argsort(drawn, kind="stable")[:MOST_SAMPLED])]

    def _follow(self, groups: Groups) -> None:
        """Follow campaigns whose groups have merged into others, and forget those whose groups are gone."""
        for number in [number for number in self.campaigns if number not in groups.groups]:
            gone = self.campaigns.pop(number)
            account = groups.grouped.get(gone.member)
            if account is None:
                continue
            kept = self.campaigns.setdefault(account.group, Holding(gone.member))
            kept.rows = self._sampled(np.concatenate([kept.rows, gone.rows]))
            kept.met = kept.met or gone.met
            if gone.right > kept.right:
                kept.queries, kept.right, kept.version = gone.queries, gone.right, gone.version

    def state(self) -> Mapping[str, Any]:
        """Return it as plain data."""
        return {
            "latest": self._latest.tobytes(),
            "campaigns": [
                [number, held.member, held.rows.tobytes(), held.queries, held.right, held.version, held.due, held.met]
                for number, held in self.campaigns.items()
            ],
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Restore what `state` returned; without it, or of a ring of another size, it begins anew.

        Raises `SnapshotError` where it is damaged.
        """
        if state is None:
            return
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"the saved links are damaged: what campaigns hold: {error!r}") from error

    def _restore(self, state: Mapping[str, Any]) -> None:
        if len(state["latest"]) != self._latest.nbytes:
            return
        self._latest[...] = np.frombuffer(state["latest"], ROW)
        inputs = len(self._view.judge.answers)
        for number, member, rows, queries, right, version, due, met in state["campaigns"]:
            held = Holding(member, np.frombuffer(rows, ROW).copy(), queries, right, version, due, bool(met))
            if len(held.rows) > MOST_SAMPLED or min(queries, right, due) < 0 or right > inputs:
                raise SnapshotError("the saved links are damaged: a campaign holds what cannot be")
            self.campaigns[number] = held


def margins_of(confidence: npt.NDArray[np.float32], runner_up: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return margins (n,) as the memory retains them (see `reservoir.round_margins`), `NO_MARGIN` without probabilities.

    >>> margins_of(np.array([0.5, np.nan], np.float32), np.array([0.25, np.nan], np.float32)).tolist()
    [177, -32768]
    """
    margins = np.empty(len(confidence), np.int16)
    round_margins(confidence, runner_up, margins)
    return margins


def _version_of(versions: npt.NDArray[np.uint16]) -> int:
    """Return the version that most of the latest queries were answered by, 0 where none is told."""
    told = versions[versions > 0][-STEADY:]
    found, counts = np.unique(told, return_counts=True)
    return int(found[counts.argmax()]) if len(found) else 0
