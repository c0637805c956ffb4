"""Walk: the only Python loop over a batch, through queries with evidence, scheduled evaluations and unusual conduct.

The result of an event may depend on the event before it, in any family: an evaluation that teaches the trees changes the score
of the next. So these events are processed in stream order, whichever kernels found them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.compute import Computed
from detector.engine.evidence.accumulate import OPEN, counts
from detector.engine.examples import Examples
from detector.engine.findings import Outputs
from detector.engine.judge import Judge
from detector.engine.memory.admission import FRESH, REFUSED
from detector.engine.memory.kept import Kept
from detector.engine.models.novelty import LESSONS, Novelty
from detector.engine.moment import ConductEvidence, Moment
from detector.engine.state import NOVELTY, DecisionState
from detector.ingest.batch import Batch

LESSON_EVERY = 32  # queries of a model between two lessons of the online trees


class Stretch(NamedTuple):
    """A batch as the walk gets it: n events of the clients at `slot` (n,), and the results of the kernels.

    `emitted` overrides the place of the batch's outputs in the output order. `newly` are the events that are their client's
    first on a day, each with that day.
    """

    batch: Batch
    slot: npt.NDArray[np.int64]
    found: Computed
    emitted: int | None
    newly: Sequence[tuple[int, int]] = ()


Read = Callable[[int, int, int, Kept, int], None]


class Walk:
    """Judges the clients of one model, and teaches its trees; `since_lesson` counts the queries since the last lesson.

    `read` is called where the odometer is due: with the event, its slot, the client's queries, what was kept, and the row
    there.
    """

    def __init__(self, judge: Judge, novelty: Novelty, examples: Examples, read: Read) -> None:
        self._read = read
        self._judge = judge
        self._novelty = novelty
        self._examples = examples
        self.since_lesson = 0

    def over(self, stretch: Stretch, standing: DecisionState, outputs: Outputs) -> npt.NDArray[np.float64]:
        """Judge the events in stream order and teach the trees; return the novelty score of each evaluation.

        `standing` is the clients' decision state, in which the judge notes what it decides.
        """
        evaluated, rows = stretch.found.evaluated, stretch.found.rows
        summary = stretch.found.summary
        if not (len(evaluated) or summary.constructed or summary.odd):
            self._note_active(stretch, 0, len(stretch.batch))
            self.since_lesson += summary.fresh
            return np.zeros(0)
        queries = stretch.found.admitted.position[evaluated]
        score = self._novelty.score(rows, queries) if len(evaluated) else np.zeros(0)
        constructed = counts(stretch.found.ratio, stretch.found.peak) if summary.constructed else None
        suspect = [] if constructed is None else np.flatnonzero(constructed.any(axis=1)).tolist()
        odd = set(np.flatnonzero(stretch.found.conduct[:, :, 0].any(axis=1)).tolist()) if summary.odd else set()
        fresh = self.since_lesson + np.cumsum(stretch.found.admitted.verdict == FRESH)
        taught_at = 0
        row_of = {int(event): row for row, event in enumerate(evaluated)}
        reading_of = {int(event): row for row, event in enumerate(stretch.found.read)}
        latest: dict[int, int] = {}
        counted = 0
        for event in sorted({*suspect, *row_of, *odd}):
            counted = self._note_active(stretch, counted, event)
            slot = int(stretch.slot[event])
            row = row_of.get(event)
            if row is not None:
                latest[slot] = row
            if event in reading_of:
                self._read(event, slot, int(stretch.found.admitted.position[event]), stretch.found.kept, reading_of[event])
            channels = [] if constructed is None else np.flatnonzero(constructed[event]).tolist()
            odds = self._odds(stretch, event) if event in odd else ()
            self._note(stretch, event, channels, odds)
            if channels or odds or row is None or self._calls(stretch, event, slot, float(score[row])):
                seen = latest.get(slot)
                moment = Moment(
                    batch=stretch.batch,
                    event=event,
                    slot=slot,
                    queries=int(stretch.found.admitted.position[event]),
                    peak=stretch.found.peak[event],
                    channels=channels,
                    score=None if row is None else float(score[row]),
                    odds=odds,
                    row=standing.row[slot].astype(np.float64) if seen is None else rows[seen],
                    emitted=int(stretch.batch.sequence[event]) if stretch.emitted is None else stretch.emitted,
                )
                self._judge.judge(moment, outputs)
            if row is None or not self._may_teach(stretch, event, standing):
                continue
            if int(fresh[event]) - taught_at >= LESSON_EVERY:
                taught_at = int(fresh[event])
                if self._novelty.learn(rows[row]):
                    score[row + 1 :] = self._novelty.score(rows[row + 1 :], queries[row + 1 :])
        self._note_active(stretch, counted, len(stretch.batch))
        self.since_lesson = int(fresh[-1]) - taught_at
        return score

    def _calls(self, stretch: Stretch, event: int, slot: int, score: float) -> bool:
        """Tell whether a scheduled evaluation has to be judged, for novelty or for harm."""
        passes = self._judge.passes(slot, score)
        return not passes or self._judge.exceeds_budget(stretch.batch, event, slot)

    def _note_active(self, stretch: Stretch, counted: int, event: int) -> int:
        """Count the clients that became active up to an event, `counted` of them before; return how many now."""
        while counted < len(stretch.newly) and stretch.newly[counted][0] <= event:
            self._judge.guard.note_active(stretch.newly[counted][1])
            counted += 1
        return counted

    def _note(self, stretch: Stretch, event: int, channels: list[int], odds: tuple[ConductEvidence, ...]) -> None:
        """Keep the id of an event as an example: it has evidence in a channel, or is itself a refused query or a reused id."""
        slot, event_id = int(stretch.slot[event]), stretch.batch.event_id[event]
        for channel in channels:
            self._examples.add(slot, channel, event_id)
        admitted = stretch.found.admitted
        shown = (admitted.verdict[event] == REFUSED, bool(admitted.reused[event]))
        for odd in odds:
            if shown[odd.question]:
                self._examples.add(slot, NOVELTY + 1 + odd.question, event_id)

    @staticmethod
    def _odds(stretch: Stretch, event: int) -> tuple[ConductEvidence, ...]:
        """Return the evidence of conduct at an event where the client's conduct is evaluated."""
        odds = []
        for question in np.flatnonzero(stretch.found.conduct[event, :, 0]).tolist():
            evidence, hits, records, usual = stretch.found.conduct[event, question].tolist()
            odds.append(ConductEvidence(question, evidence, int(hits), int(records), usual))
        return tuple(odds)

    @staticmethod
    def _may_teach(stretch: Stretch, event: int, standing: DecisionState) -> bool:
        """Tell whether the trees learn from an evaluation: no evidence, no decision, and an answer that was not perturbed."""
        if stretch.batch.perturbed[event] or int(stretch.found.admitted.position[event]) not in LESSONS:
            return False
        slot = int(stretch.slot[event])
        decided = standing.reached[slot].any() or standing.revision[slot]
        return not decided and bool((stretch.found.peak[event] <= OPEN).all())
