"""Meters: the odometer of the service. It reads how much of a model each client holds, from what the memory retains anyway.

At a reading (`metered.READINGS`) a copy is learned from the client's retained queries, and judged by the reference set. A
second copy from half of them shows what each doubling of the queries still brings. At that rate the lead is continued, by as
many doublings as the client asked beyond what is retained. Nothing is kept of a copy: the same retained queries always give the
same reading, whatever was restarted, parked or dealt to whom in between.

Blind to: what the retained queries do not show. Queries that teach nothing crowd out others that do, and a theft that teaches
more with each query than the ones before is read too low.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from detector.engine.findings import Reading
from detector.engine.memory.kept import Kept
from detector.engine.memory.metered import READINGS, Metered
from detector.engine.odometer.arc_cosine import PENALTY, TABLE_PENALTY, Kin
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.view import Lessons, Retained, View, retained_at, view_of

LARGEST_RATE = 0.15  # of the lead, that a doubling of the queries can bring
LEAST_HALVED = 16  # retained queries, of which a half says something
MOST_TOGETHER = 400  # queries that the copy of several clients is learned from


class Meters:
    """Reads the odometers of one model's clients."""

    def __init__(self, reference_set: ReferenceSet) -> None:
        self.view = view_of(reference_set)

    def read(self, metered: Metered, slot: int, queries: int, kept: Kept, row: int) -> None:
        """Read the odometer of the client at `slot`, and note the reading in `metered` where it is the highest so far.

        The client had asked so many `queries` of the model when row `row` of `kept` was taken.
        """
        turn = kept.turn[row]
        if metered.read_turn[slot] != turn:  # another version of the model answers than at the reading before
            metered.right[slot] = metered.read[slot] = metered.met[slot] = 0
            metered.read_turn[slot] = turn
        lessons = self.view.lessons(retained_at(kept, row))
        n = len(lessons.inputs)
        if not n:
            return
        # Of a version that came later so large a share was asked as is retained.
        right = _right(self.view, lessons, float(kept.stored[row]) * n / float(kept.held[row]))
        if metered.read[slot] == 0 or right > metered.right[slot]:
            metered.right[slot] = right
            metered.read[slot] = int(np.searchsorted(READINGS, queries)) + 1

    def reading(self, metered: Metered, slot: int) -> Reading | None:
        """Return the highest reading of the client at `slot`, None where there is none."""
        number = int(metered.read[slot])
        if number == 0:
            return None
        return self.view.reading(int(READINGS[number - 1]), int(metered.right[slot]))

    def holders(self, metered: Metered, kept: npt.NDArray[np.bool_], leads: Sequence[float]) -> list[int]:
        """Return how many of the clients in the rows `kept` hold at least each of these leads."""
        judge = self.view.judge
        known = kept & (metered.read > 0)
        agreement = metered.right[known] / len(judge.answers)
        return [int(np.count_nonzero(agreement >= judge.guess + lead * (1.0 - judge.guess) - 1e-9)) for lead in leads]


def read_together(view: View, members: Sequence[Retained], queries: int) -> Reading:
    """Return the reading of several clients who put together what they were told, `queries` in all.

    The copy is learned anew, from `MOST_TOGETHER` of the retained queries at most, of each member the same share. The lead is
    continued by the queries that are not retained, as for one client. Raises ValueError where nothing is retained.
    """
    lessons = [view.lessons(member) for member in members]
    total = sum(len(own.inputs) for own in lessons)
    if not total:
        raise ValueError("no member has a retained query")
    step = max(1.0, total / MOST_TOGETHER)
    chosen = np.floor(np.arange(0, total, step)).astype(np.intp)
    together = Lessons(*(np.concatenate(parts)[chosen] for parts in zip(*lessons, strict=True)))
    retained = sum(len(member.label) for member in members)
    return view.reading(queries, _right(view, together, queries * total / retained))


def _right(view: View, lessons: Lessons, asked: float) -> int:
    """Return about how many reference inputs a copy would be right that knew all queries, of which these are retained."""
    n = len(lessons.inputs)
    penalty = TABLE_PENALTY if view.judge.table else PENALTY
    kin = Kin(lessons.inputs, view.inputs)
    whole = view.right(kin.predictions(lessons.targets, penalty))
    doublings = math.log2(max(asked, n) / n)
    if doublings == 0.0 or n < LEAST_HALVED:
        return whole
    part = view.right(kin.predictions(lessons.targets, penalty, every=2))
    inputs = len(view.judge.answers)
    most = LARGEST_RATE * (1.0 - view.judge.guess) * inputs
    return min(whole + int(doublings * min(max(whole - part, 0), most)), inputs)
