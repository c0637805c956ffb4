"""A limit to how much may be refused, so that a bad deployment does not turn a whole log into dead letters.

A few broken records are normal and cost nothing: they are kept aside and the stream goes on. When most of what arrives is
refused, the fault is rarely in the records: a model with another input dimension was deployed, or a log has a new format. Going
on would empty the stream into the dead letters and blind the detection; so the service stops, says why, and commits nothing
that it has not written. Started again it reads the same records again, so it stays down until somebody has acted.
"""

from collections import Counter, deque
from collections.abc import Sequence

from detector.errors import FatalError

WINDOW = 10_000  # records that are looked back upon
LEAST = 1_000  # fewer records than these count as so many: a handful of bad ones at the start is no sign


class Tolerance:
    """Looks at the latest records of a stage, batch by batch.

    >>> tolerance = Tolerance(0.5)
    >>> tolerance.note(400, [("json", "broken")] * 400)
    >>> tolerance.note(5000, [("json", "broken")] * 2000)
    >>> tolerance.note(100, [("dimension", "7 numbers, not 8")] * 100) is None
    True
    """

    def __init__(self, ratio: float) -> None:
        """Allow so many refusals, as a share of the latest records; 1 allows all."""
        self._ratio = ratio
        self._batches: deque[tuple[int, Counter[str]]] = deque()
        self._records = 0
        self._refused: Counter[str] = Counter()

    def note(self, records: int, refused: Sequence[tuple[str, str]]) -> None:
        """Take note of a batch of so many `records`, with reason and detail of each that was refused.

        Raises `FatalError` when too many of the latest were; to be called before anything of the batch is written.
        """
        reasons = Counter(reason for reason, _ in refused)
        self._batches.append((records, reasons))
        self._records += records
        self._refused += reasons
        while self._records - self._batches[0][0] >= WINDOW:
            records_then, reasons_then = self._batches.popleft()
            self._records -= records_then
            self._refused -= reasons_then
        if self._refused.total() > self._ratio * max(self._records, LEAST):
            raise FatalError(self._sentence(refused[-1][1] if refused else ""))

    def _sentence(self, example: str) -> str:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in self._refused.most_common())
        return (
            f"{self._refused.total():,} of the last {self._records:,} records were refused ({counts}), more than [kafka] "
            f"dead_letter_ratio = {self._ratio:g} allows; the last one: {example[:200] or 'no detail'}. The service has "
            "stopped, and nothing is lost: what it has not written on is read again at the next start. Mend the cause first, "
            "or set dead_letter_ratio = 1 to let them all go to the dead letters"
        )
