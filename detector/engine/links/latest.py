"""Latest: the latest queries of a model, whoever asked them, and samples of those that some accounts asked.

What accounts hold together is read from a sample of what they were told (see `odometer.meters`). A sample is taken out of the
ring of the latest queries before the ring forgets them. It is the queries with the lowest of secret numbers, so it depends on
which queries were seen, not on when, and two samples that are put together make one. The ring is written up to the query at
hand before it is read, so all is the same however the stream is cut.

Blind to: what was asked before the ring began, and answers that the log does not tell as they were told.

Bounded: 125 bytes for each query of the ring and of a sample, which holds `MOST_SAMPLED` at the most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.engine.findings import Reading
from detector.engine.links.seeking.search import Links
from detector.engine.links.sketch import Sketches
from detector.engine.memory.metered import STEADY, versions_of
from detector.engine.memory.reservoir import COORDINATES, OUTDATED, SAMPLED, mix_all, round_margins
from detector.engine.odometer.meters import MOST_TOGETHER, read_together
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.view import Retained, view_of
from detector.errors import SnapshotError

RING_SHARE = 4  # of so many entries of the store, the ring has one
LEAST_RING = 256
MOST_SAMPLED = MOST_TOGETHER
ROW = np.dtype(
    [
        ("uid", np.int64),
        ("account", np.uint64),
        ("organization", np.uint32),
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
class Sample:
    """What is kept of some accounts: `rows` of `ROW` by `uid`, and their highest reading for the version that it is of.

    A copy is `right` about so many reference inputs after `queries`, 0 where there was no reading.
    """

    rows: Rows = field(default_factory=lambda: np.zeros(0, ROW))
    queries: int = 0
    right: int = 0
    version: int = 0

    def take_reading(self, other: "Sample") -> None:
        """Take the reading of another sample, which is put together with this one, where it is higher."""
        if other.right > self.right:
            self.queries, self.right, self.version = other.queries, other.right, other.version


class Latest:
    """The latest queries of one model; `entries` is the size of the store of the search, `seed` a secret."""

    def __init__(self, reference_set: ReferenceSet, entries: int, seed: int) -> None:
        self.view = view_of(reference_set)
        self.half = max(entries // RING_SHARE, LEAST_RING) // 2  # of the ring, after which samples have to be taken
        self._seed = np.uint64(seed)
        self._ring = np.zeros(2 * self.half, ROW)
        self._waiting = np.zeros(0, ROW)
        self._written = 0

    @property
    def nbytes(self) -> int:
        """The memory of the ring, in bytes."""
        return self._ring.nbytes

    def take(
        self,
        sketches: Sketches,
        account: npt.NDArray[np.uint64],
        organization: npt.NDArray[np.uint32],
        links: Links,
    ) -> None:
        """Take in queries that are not repeats; they are written by `write`, in time for whoever reads."""
        rows = np.zeros(len(sketches), ROW)
        for name in ("z", "c", "label", "perturbed"):
            rows[name] = getattr(sketches, name)
        rows["uid"], rows["account"], rows["organization"] = links.uid, account, organization
        rows["margin"] = margins_of(sketches.confidence, sketches.runner_up)
        rows["version"] = versions_of(sketches.version)
        if links.repeat.any():
            rows = rows[~links.repeat]
        self._waiting, self._written = rows, 0

    def write(self, uid: int) -> None:
        """Write the waiting queries up to this one into the ring."""
        self._write(int(np.searchsorted(self._waiting["uid"], uid, side="right")))

    def _write(self, end: int) -> None:
        rows = self._waiting[self._written : end]
        if len(rows):
            self._ring[rows["uid"] % len(self._ring)] = rows
            self._written = end

    def finish(self) -> None:
        """Write what is left of the queries that were taken in."""
        self._write(len(self._waiting))

    def add_accounts(self, sample: Sample, accounts: Sequence[int]) -> None:
        """Add to a sample what accounts with these numbers have in the ring."""
        own = self._ring[np.isin(self._ring["account"], np.array(accounts, np.uint64))]
        sample.rows = self.drawn(np.concatenate([sample.rows, own]))

    def add_organization(self, sample: Sample, number: int, most: int) -> None:
        """Add to a sample of `most` queries what an organisation has in the ring."""
        own = self._ring[self._ring["organization"] == number]
        sample.rows = self.drawn(np.concatenate([sample.rows, own]), most)

    def drawn(self, rows: Rows, most: int = MOST_SAMPLED) -> Rows:
        """Return each of the queries once, `most` of them at the most, by `uid`."""
        rows = rows[np.unique(rows["uid"], return_index=True)[1]]
        if len(rows) <= most:
            return rows
        lots = np.empty(len(rows), np.uint64)
        mix_all(self._seed, np.ascontiguousarray(rows["uid"]), lots)
        return rows[np.sort(np.argsort(lots, kind="stable")[:most])]

    def read(self, sample: Sample, queries: int) -> None:
        """Read what those hold who asked so many `queries`, and note the reading where it is the highest so far."""
        rows = sample.rows
        version = _version_of(rows["version"])
        told = rows["version"]
        # The two kinds of perturbation are neighbouring bits of a mark, in the same order.
        mark = np.left_shift(rows["perturbed"] & 3, 2) | np.where((told > 0) & (told != version), OUTDATED, 0)
        retained = Retained(
            np.ascontiguousarray(rows["z"]),
            np.ascontiguousarray(rows["c"]),
            np.ascontiguousarray(rows["label"]),
            mark.astype(np.uint8),
            np.ascontiguousarray(rows["margin"]),
        )
        if version != sample.version:
            sample.version, sample.queries, sample.right = version, 0, 0
        if not len(rows) or np.all(mark & OUTDATED):
            return
        queries = max(queries, len(rows))
        found = read_together(self.view, [retained], queries)
        right = round(found.agreement * len(self.view.judge.answers))
        if not sample.queries or right > sample.right:
            sample.queries, sample.right = queries, right

    def reading(self, sample: Sample) -> Reading | None:
        """Return the highest reading of a sample, None where there is none."""
        return self.view.reading(sample.queries, sample.right) if sample.queries else None

    def state(self) -> bytes:
        """Return the ring."""
        return self._ring.tobytes()

    def restore(self, state: bytes) -> bool:
        """Restore the ring; False where it is one of another size, and nothing was restored."""
        if len(state) != self._ring.nbytes:
            return False
        self._ring[...] = np.frombuffer(state, ROW)
        return True

    def restored(self, rows: bytes, queries: int, right: int, version: int, most: int = MOST_SAMPLED) -> Sample:
        """Return a sample of this content. Raises `SnapshotError` where there can be none."""
        found = Sample(np.frombuffer(rows, ROW).copy(), queries, right, version)
        if (
            not isinstance(version, int)
            or len(found.rows) > most
            or min(queries, right) < 0
            or right > len(self.view.judge.answers)
        ):
            raise SnapshotError("the saved links are damaged: accounts hold together what cannot be")
        return found


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
