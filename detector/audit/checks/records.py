"""Whether the log can be read: records that cannot be used, samples, and times."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Asked, Seen

__all__ = ["Records"]

_REFUSED: Final = ("records.unusable", "Records that detection cannot use", ("AISVS v1.0-C12.1.3", "ASVS v5.0.0-16.2.4"))
_SAMPLED: Final = ("records.sampled", "The log is a sample", ("AISVS v1.0-C11.3.1", "AISVS v1.0-C12.1.1"))
_ORDER: Final = ("records.order", "Times run backwards", ("ASVS v5.0.0-16.2.2",))
_FUTURE: Final = ("records.future", "Events from the future", ("ASVS v5.0.0-16.2.2",))

_ABSENT: Final = frozenset({"unanswered", "no_query", "unidentified"})
"""Reasons that another check judges, or that are no fault of the log: calls without an answer, and health checks."""

MINUTE_MS: Final = 60_000
MANY: Final = 0.01
MOST: Final = 0.2


class Records(Check):
    """What the records themselves show about logging."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._events = self._forward = self._backward = self._late = self._early = 0
        self._latest_ms = self._last_ms = self._furthest_ms = 0
        self._reasons: Counter[str] = Counter()
        self._sampled = 0
        self._stands_for = 0.0
        self._said_weight = 0
        self._late_ids: list[str] = []
        self._early_ids: list[str] = []
        engine = known.config.engine
        self._lateness_ms = int(engine.lateness_minutes * MINUTE_MS)
        self._bound_ms = known.latest_ms

    def take(self, seen: Seen) -> None:
        """Look at the time and the weight of an event."""
        self._events += 1
        self._stands_for += seen.weight
        self._said_weight += seen.event.sampled_rate is not None
        self._sampled += seen.weight > 1.0
        time_ms = seen.time_ms
        if self._last_ms:
            self._forward += time_ms > self._last_ms
            self._backward += time_ms < self._last_ms
        self._last_ms = time_ms
        if self._bound_ms is not None and time_ms > self._bound_ms:
            self._early += 1
            if len(self._early_ids) < EXAMPLES:
                self._early_ids.append(seen.event.event_id)
            return  # one event dated a year ahead makes no others late
        behind = self._latest_ms - time_ms
        self._furthest_ms = max(self._furthest_ms, behind)
        if behind > self._lateness_ms:
            self._late += 1
            if len(self._late_ids) < EXAMPLES:
                self._late_ids.append(seen.event.event_id)
        self._latest_ms = max(self._latest_ms, time_ms)

    def refuse(self, asked: Asked) -> None:
        """Count a record by why it cannot be used."""
        self._reasons[asked.refusal.reason] += 1

    def results(self) -> Iterator[Result]:
        """Say how good the log is."""
        yield self._unusable()
        yield self._sample()
        yield self._order()
        yield self._future()

    def _unusable(self) -> Result:
        reasons = {reason: count for reason, count in sorted(self._reasons.items()) if reason not in _ABSENT}
        bad, records = sum(reasons.values()), self._events + self._reasons.total()
        figures = {"unusable": bad, "records": records, "reasons": reasons}
        if not bad:
            return Clear(*_REFUSED, f"each of {records:,} records can be used, or tells of a call without an answer", figures)
        share = bad / records
        told = ", ".join(
            f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:EXAMPLES]
        )
        return Finding(
            *_REFUSED,
            "high" if share >= MOST else "medium" if share >= MANY else "low",
            f"{share:.1%} of the records: their queries count for their client, and their content is not compared",
            f"{bad:,} of {records:,} records: {told}",
            "`detector logs inspect LOG` says what is refused, where and why",
            figures,
        )

    def _sample(self) -> Result:
        figures = {"sampled": self._sampled, "events": self._events, "stands_for": round(self._stands_for)}
        if not self._said_weight:
            return Unjudged(*_SAMPLED, "no event has a sampled_rate: the log does not say whether it is whole")
        if not self._sampled:
            return Clear(*_SAMPLED, f"{self._said_weight:,} events say that each query was logged", figures)
        kept = self._events / self._stands_for
        return Finding(
            *_SAMPLED,
            "high" if kept < 0.5 else "medium",
            "evidence compares a query with those it was made from; where most are not logged, most of it is not seen, and "
            "every figure of this "
            "audit is of the sample",
            f"{self._sampled:,} of {self._events:,} events stand for more than one query; {self._events:,} of about "
            f"{self._stands_for:,.0f} "
            f"queries are logged ({kept:.1%})",
            "log every query of the models that are worth protecting, at least of clients with evidence",
            figures,
        )

    def _order(self) -> Result:
        figures = {
            "backward_steps": self._backward,
            "forward_steps": self._forward,
            "late": self._late,
            "furthest_seconds": self._furthest_ms / 1000.0,
        }
        lateness = self.known.config.engine.lateness_minutes
        if self._events < 2:
            return Unjudged(*_ORDER, "a log of one event has no order")
        if self._backward > 3 * self._forward:
            return Finding(
                *_ORDER,
                "high",
                "the log is newest first: nothing else that this audit says of times can be relied on",
                f"{self._backward:,} steps back, {self._forward:,} forward",
                "turn it round first: `tac LOG > sorted.jsonl`",
                figures,
            )
        seen = f"{self._backward:,} steps back, the furthest {self._furthest_ms / 1000.0:,.1f} s"
        if not self._late:
            return Clear(*_ORDER, f"{seen}; none of more than {lateness:g} minutes", figures)
        share = self._late / self._events
        return Finding(
            *_ORDER,
            "medium" if share >= MANY else "low",
            f"{share:.1%} of the events are further back than [engine] lateness_minutes ({lateness:g}), so detection refuses "
            "those that are also "
            "behind their client's own",
            f"{seen}; {self._late:,} of {self._events:,} events come more than {lateness:g} minutes after later ones",
            "synchronise the clocks of what logs, and name replicas' logs as separate files: they are merged by time",
            figures,
            tuple(self._late_ids),
        )

    def _future(self) -> Result:
        if self._bound_ms is None:
            return Unjudged(*_FUTURE, "the time of the audit is not known")
        figures = {"early": self._early, "events": self._events}
        if not self._early:
            return Clear(*_FUTURE, f"none of {self._events:,} events is ahead of this machine's clock", figures)
        return Finding(
            *_FUTURE,
            "medium",
            "detection refuses them: a clock that runs ahead, or local time that is marked as UTC",
            f"{self._early:,} of {self._events:,} events are more than {self.known.config.engine.max_skew_minutes:g} minutes "
            "ahead of this "
            "machine's clock",
            "synchronise the clocks; [engine] naive_time_zone for times without an offset",
            figures,
            tuple(self._early_ids),
        )
