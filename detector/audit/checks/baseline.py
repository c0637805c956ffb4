"""Whether the baseline is of the log's time and models."""

from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen
from detector.audit.table import Table

__all__ = ["BaselineAge"]

DAY_MS: Final = 86_400_000
OLD_DAYS: Final = 90
"""A quarter: applications change with their releases. `detector baseline show --log` tells whether clients still fit."""

_AGE: Final = ("baseline.age", "The baseline is old", ("AISVS v1.0-C12.3.1",))
_MODELS: Final = ("baseline.models", "Models without a baseline", ("AISVS v1.0-C11.3.1",))


class BaselineAge(Check):
    """The age of the baseline's folder at the end of the log, and models of the log that it does not know.

    The folder's time is when it was last written. A copy is younger than the baseline, so the age is a lower bound.
    """

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._last_ms = 0
        self._events = 0
        self._unknown: Table[str, list[str]] = Table(list)
        self._of_unknown = 0

    def take(self, seen: Seen) -> None:
        """Note the time and the model."""
        self._events += 1
        self._last_ms = max(self._last_ms, seen.time_ms)
        baseline = self.known.baseline
        if baseline is not None and seen.model not in baseline.models:
            self._of_unknown += 1
            ids = self._unknown[seen.model]
            if len(ids) < EXAMPLES:
                ids.append(seen.event.event_id)

    def results(self) -> Iterator[Result]:
        """Say how the baseline fits the log."""
        baseline = self.known.baseline
        if baseline is None or not self._events:
            why = (
                "no baseline was named: --baseline DIR, or -c with [baseline] path"
                if baseline is None
                else "the log holds no event"
            )
            yield Unjudged(*_AGE, why)
            yield Unjudged(*_MODELS, why)
            return
        days = (self._last_ms - baseline.written_ms) / DAY_MS
        figures = {"days": round(days, 2), "version": baseline.version}
        seen = (
            f"baseline {baseline.version} was written {abs(days):,.1f} days {'before' if days >= 0 else 'after'} the last event"
        )
        if days <= OLD_DAYS:
            yield Clear(*_AGE, seen, figures)
        else:
            yield Finding(
                *_AGE,
                "low",
                f"what is usual may have moved in more than {OLD_DAYS} days; the log alone does not show whether it has",
                seen,
                "`detector baseline show DIR --log LOG` says whether clients still fit it; fit it again where they do not",
                figures,
            )
        yield self._models(baseline.version)

    def _models(self, version: str) -> Result:
        if not self._of_unknown:
            return Clear(*_MODELS, f"baseline {version} knows the model of each of {self._events:,} events")
        share = self._of_unknown / self._events
        models = sorted((name for name, _ in self._unknown.items()))
        return Finding(
            *_MODELS,
            "medium" if share >= 0.01 else "low",
            f"{share:.1%} of the events are of models that are learned from their first events, so what is unusual there is "
            "seen late or not",
            f"{self._of_unknown:,} events of {len(models):,} models: {', '.join(models[:EXAMPLES])}",
            "fit a baseline with benign traffic of these models (`detector baseline fit`)",
            {"events": self._of_unknown, "models": models[:100]},
            tuple(next(iter(self._unknown.items()))[1]),
        )
