"""What was refused of a stream, and why: counts, an example of each reason, and what may be done about it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from detector.contracts.dead_letter import Reason
from detector.ingest.assemble import Rejection
from detector.ingest.batch import Batch, Origin

__all__ = ["Refusals", "RefusedExample"]

_SHOWN = 3
_MANY = 0.2  # share of all records from which on a reason is a sign of something that can be mended
_FEW = 32  # steps back from which on a log can be said to run backwards

HINTS: dict[Reason, str] = {
    "encoding": "is this a text log in UTF-8?",
    "json": "is this the configured format ([ingest] format)? `detector logs inspect LOG` says which one a log has, "
    "`detector schema export` what the native one is",
    "schema": "is this the configured format ([ingest] format)? `detector logs inspect LOG` says which one a log has, "
    "`detector schema export` what the native one is",
    "dimension": 'do two models share an id, or did the model change? [models."ID"] dimension says which length is right',
    "future": "is local time marked as UTC, or is the clock of this machine behind?",
    "late": "is the log sorted by time? are several replicas' logs one behind the other in it? give them as separate files, "
    "they are merged by time",
    "oversized": "[engine] max_record_bytes is the limit",
    "unidentified": "where does the log say who asked? [[ingest.clients]] takes a header, a path or a constant",
    "unanswered": "are answers logged, and those that failed? such queries count for their client, without their inputs",
    "no_query": "are these health checks, or is the logging of bodies off?",
}


@dataclass(frozen=True, slots=True)
class RefusedExample:
    """The first record that was refused for a reason."""

    sequence: int
    origin: Origin
    detail: str


class Refusals:
    """Counts what was refused of a stream, and sees whether its times run backwards."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.counts: Counter[Reason] = Counter()
        self.first: dict[Reason, RefusedExample] = {}
        self._forward = self._backward = 0
        self._time: int | None = None

    def note(self, rejections: Iterable[Rejection]) -> None:
        """Take note of refused records."""
        for entry in rejections:
            self.counts[entry.reason] += 1
            known = self.first.get(entry.reason)
            if known is None or entry.sequence < known.sequence:
                self.first[entry.reason] = RefusedExample(entry.sequence, entry.origin, entry.detail)

    def pass_by(self, batches: Iterable[Batch]) -> None:
        """Take note of the times of events that were not refused, or not yet."""
        for batch in batches:
            if len(batch) == 1:  # numpy takes fifty times as long for one
                time = int(batch.time[0])
                self._forward += self._time is not None and time > self._time
                self._backward += self._time is not None and time < self._time
                self._time = time
                continue
            steps = np.diff(batch.time, prepend=batch.time[0] if self._time is None else self._time)
            self._forward += int(np.count_nonzero(steps > 0))
            self._backward += int(np.count_nonzero(steps < 0))
            self._time = int(batch.time[-1])

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were refused for each reason, the commonest first."""
        return dict(sorted(self.counts.items(), key=lambda item: (-item[1], item[0])))

    def tell(self, records: int) -> list[str]:
        """Say what was refused of so many records, one sentence for each of the commonest reasons; nothing if none was."""
        sentences = (sentence for reason, count in self._commonest() for sentence in self._sentences(reason, count, records))
        return list(dict.fromkeys(sentences))

    def newest_first(self) -> str | None:
        """Say that the log is newest first and what to do, if its times run backwards; None if they do not."""
        if self._backward < _FEW or self._backward <= 3 * self._forward:
            return None
        return (
            "the times run backwards: the log is newest first, and what is older than it should be is late. "
            "Turn it round first: `tac LOG > sorted.jsonl`"
        )

    def verdict(self, events: int, records: int) -> str | None:
        """Say what makes results worthless, if anything does: no record could be used, or most are late and newest first.

        `events` is how many were used, of so many `records`.
        """
        if self.counts and not events:
            return f"none of the {self.counts.total():,} records could be used: {self._why()}"
        return self.newest_first() if 2 * self.counts["late"] > records else None

    def _why(self) -> str:
        return ", ".join(f"{count:,} {reason}" for reason, count in self._commonest())

    def _commonest(self) -> Iterator[tuple[Reason, int]]:
        yield from sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]

    def _sentences(self, reason: Reason, count: int, records: int) -> Iterator[str]:
        example = self.first[reason]
        share = count / max(records, count)
        yield (
            f"refused as {reason}: {count:,} of {records:,} records ({_percent(share)}); "
            f"the first at {example.origin.source}:{example.origin.line}: {example.detail}"
        )
        if share >= _MANY and reason in HINTS and not self._explained(reason):
            yield HINTS[reason]

    def _explained(self, reason: Reason) -> bool:
        """Whether something else says what to do: the verdict, or the detail of a time that was understood."""
        if reason == "late":
            return self.newest_first() is not None
        return reason == "schema" and self.first[reason].detail.startswith("time: ")


def _percent(share: float) -> str:
    return "under 1%" if share < 0.01 else f"{share:.0%}"
