"""The sketches of one model that wait for their turn, and what of each partition was seen before.

A partition's sketches are dropped up to the place reached: offset, and number within the record. That leaves each exactly once,
whatever detection writes again after a restart, since whoever continues a partition begins where everything before is in the
topic (see `detect.sketching`). A queries topic that was made anew has another id, and its places begin again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.links.sketch import Sketches
from detector.errors import SketchesError, SnapshotError
from detector.service.kafka.sketches import MOST_ROWS, PlacedSketches, decode, encode_sketches, joined

LATEST = 2**62  # later than any time
MOST_HELD = 100_000  # sketches of a model, about 40 MB; beyond them the oldest half is taken, whoever is behind


class Mark(NamedTuple):
    """The place reached in a partition of the queries topic `source`; `written` and `moment` continue its order."""

    source: bytes
    offset: int
    number: int
    written: int
    moment: int


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Sketches that came at once, at `arrived`; `written` (n,) and `moment` (n,) are what they are ordered by.

    `written` never falls within a partition, and `moment`, of event time, not among those of one `written`.
    """

    placed: PlacedSketches
    written: npt.NDArray[np.int64]
    moment: npt.NDArray[np.int64]
    arrived: int

    def __len__(self) -> int:
        """Return the number of sketches."""
        return len(self.written)

    def cut(self, begin: int, end: int) -> "Chunk":
        """Return some of them."""
        if begin == 0 and end == len(self):
            return self
        rows = np.arange(begin, end)
        return Chunk(self.placed.take(rows), self.written[rows], self.moment[rows], self.arrived)


class Turn(NamedTuple):
    """Sketches whose turn it is, in order; how many were taken before all partitions had come as far, and how many late."""

    sketches: Sketches
    hurried: int
    late: int


class Queue:
    """The waiting sketches of one model, from all partitions."""

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}
        self._chunks: list[Chunk] = []
        self._held = 0
        self._earliest = LATEST  # of the waiting sketches, when the first was written
        self._count = 0
        self.until = -1  # everything written up to then was taken

    def __len__(self) -> int:
        """Return how many wait."""
        return self._held

    def add(self, placed: PlacedSketches, now: int) -> int:
        """Add sketches that came at `now`, but for those that were there before; return how many those are."""
        mark = self._marks.get(placed.partition)
        if mark is None or mark.source != placed.source:
            mark = Mark(placed.source, -1, 0, 0 if mark is None else mark.written, 0)
        fresh = (placed.offset > mark.offset) | ((placed.offset == mark.offset) & (placed.index > mark.number))
        repeated = int(len(placed) - np.count_nonzero(fresh))
        if repeated == len(placed):
            return repeated
        placed = placed.take(np.flatnonzero(fresh)) if repeated else placed
        written = np.maximum(np.maximum.accumulate(placed.written), mark.written)
        moment = _rising(written, placed.sketches.time, mark)
        self._marks[placed.partition] = Mark(
            placed.source, int(placed.offset[-1]), int(placed.index[-1]), int(written[-1]), int(moment[-1])
        )
        self._hold(Chunk(placed, written, moment, now))
        return repeated

    def _hold(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._earliest = min(self._earliest, int(chunk.written[0]))

    def pressing(self, before: int) -> int:
        """Return up to when sketches have to be taken: those that came before `before`, and too many; -1 where none."""
        early = takewhile(lambda chunk: chunk.arrived < before, self._chunks)  # they are in the order of their arrival
        waited = max((int(chunk.written[-1]) for chunk in early), default=-1)
        if self.full:
            waited = max(waited, int(np.median(np.concatenate([chunk.written for chunk in self._chunks]))))
        return waited

    @property
    def full(self) -> bool:
        """Whether more wait than may."""
        return self._held > MOST_HELD

    @property
    def latest(self) -> int:
        """When the last of the waiting sketches was written; -1 where none waits."""
        return max((int(chunk.written[-1]) for chunk in self._chunks), default=-1)

    def turn(self, due: int, complete: int) -> Turn | None:
        """Take the sketches written up to `due`, in order, and those that came late; None where there are none.

        Those written after `complete` are hurried. Those are late whose time was taken before.
        """
        before, due = self.until, max(due, self.until)
        self.until = due
        if self._earliest > due:
            return None
        self._earliest = LATEST
        parts: list[Chunk] = []
        left: list[Chunk] = []
        for chunk in self._chunks:
            end = int(np.searchsorted(chunk.written, due, side="right"))
            if end:
                parts.append(chunk.cut(0, end))
            if end < len(chunk):
                left.append(chunk.cut(end, len(chunk)))
        self._chunks, self._held = [], 0
        for chunk in left:
            self._hold(chunk)
        written = np.concatenate([part.written for part in parts])
        partition = np.repeat([part.placed.partition for part in parts], [len(part) for part in parts])
        # A partition's own sketches stay as they came: chunks are in that order, and the sort is stable.
        order = np.lexsort((partition, np.concatenate([part.moment for part in parts]), written))
        sketches = joined([part.placed.sketches for part in parts]).take(order)
        sequence = np.arange(self._count, self._count + len(order))
        self._count += len(order)
        hurried, late = np.count_nonzero(written > max(complete, before)), np.count_nonzero(written <= before)
        return Turn(replace(sketches, sequence=sequence), int(hurried), int(late))

    def state(self) -> dict[str, Any]:
        """Return it as plain data, without `until`, which changes more often."""
        chunks = [
            [encode_sketches(piece.placed), piece.written.tobytes(), piece.moment.tobytes(), piece.arrived]
            for chunk in self._chunks
            for piece in _pieces(chunk)
        ]
        marks = [[place, *mark] for place, mark in sorted(self._marks.items())]
        return {"count": self._count, "chunks": chunks, "marks": marks}

    @classmethod
    def restored(cls, state: Mapping[str, Any], reference: str) -> "Queue":
        """Return what `state` told of; sketches that another reference reduced are left out.

        Raises `SnapshotError` where it is damaged.
        """
        found = cls()
        try:
            found._count = int(state["count"])
            for place, source, *numbers in state["marks"]:
                found._marks[int(place)] = Mark(bytes(source), *map(int, numbers))
            for record, written, moment, arrived in state["chunks"]:
                placed = decode(record)
                when = np.frombuffer(written, np.int64), np.frombuffer(moment, np.int64)
                if not isinstance(placed, PlacedSketches) or {len(placed)} != set(map(len, when)):
                    raise SnapshotError("the saved sketches are damaged: their numbers differ")
                if placed.reference == reference:
                    found._hold(Chunk(placed, *when, int(arrived)))
        except (KeyError, TypeError, ValueError, SketchesError) as error:
            raise SnapshotError(f"the saved sketches are damaged: {error!r}") from error
        return found


def _rising(written: npt.NDArray[np.int64], time: npt.NDArray[np.int64], mark: Mark) -> npt.NDArray[np.int64]:
    """Return the latest event time so far of each, among those of the same `written`; it continues that of the mark."""
    moment = time.copy()
    last, latest = mark.written, mark.moment
    for row, (group, value) in enumerate(zip(written.tolist(), time.tolist(), strict=True)):
        latest = max(latest, value) if group == last else value
        last = group
        moment[row] = latest
    return moment


def _pieces(chunk: Chunk) -> Sequence[Chunk]:
    return [chunk.cut(begin, min(begin + MOST_ROWS, len(chunk))) for begin in range(0, len(chunk), MOST_ROWS)]
