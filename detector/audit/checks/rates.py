"""How fast the fastest client was answered, beside how many queries a copy takes; and whether any limit is visible.

Only answers count. Figures of single clients are lower bounds: records out of order, and clients that made room for others in
memory, count for less.

Blind to: a limit that nobody reached; how many accounts one caller has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import Clear, Finding, Result, Unjudged
from detector.audit.seen import Asked, Seen
from detector.audit.table import Table
from detector.names import counted

__all__ = ["Rates"]

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
_TOO_MANY: Final = 429
_CONTROLS: Final = ("AISVS v1.0-C11.2.2", "ASVS v5.0.0-2.4.1")
_PACE, _PACE_TITLE = "rate.pace", "One client is answered as fast as a copy needs"
_LIMIT, _LIMIT_TITLE = "rate.limit", "No limit is visible"
_SIZE, _SIZE_TITLE = "rate.ceiling", "The ceiling allows a copy within a day"


@dataclass(slots=True)
class _Pace:
    """Answers of one client and model, in this minute, on this day, and in all."""

    minute: int = -1
    in_minute: float = 0.0
    day: int = -1
    in_day: float = 0.0
    first_id: str = ""


@dataclass(slots=True)
class _Most:
    """The most answers in a stretch of time."""

    answers: float = 0.0
    client: str = ""
    event_id: str = ""

    def note(self, answers: float, seen: Seen) -> None:
        if answers > self.answers:
            self.answers, self.client, self.event_id = answers, seen.client, seen.event.event_id


class Rates(Check):
    """The fastest client per minute and day, for each model, and what limits the log and the configuration show."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._paces: Table[tuple[str, str], _Pace] = Table(_Pace)
        self._minutes: Table[str, _Most] = Table(_Most)
        self._days: Table[str, _Most] = Table(_Most)
        self._too_many = self._with_status = self._failed = self._events = 0

    def take(self, seen: Seen) -> None:
        """Count an answer."""
        self._events += 1
        status = seen.event.status
        self._with_status += status is not None
        self._too_many += status == _TOO_MANY
        if not seen.answered:
            return
        pace = self._paces[seen.client, seen.model]
        minute, day = seen.time_ms // MINUTE_MS, seen.time_ms // DAY_MS
        if minute != pace.minute:
            pace.minute, pace.in_minute = minute, 0.0
        if day != pace.day:
            pace.day, pace.in_day = day, 0.0
        pace.in_minute += seen.weight
        pace.in_day += seen.weight
        self._minutes[seen.model].note(pace.in_minute, seen)
        self._days[seen.model].note(pace.in_day, seen)

    def refuse(self, asked: Asked) -> None:
        """Count what a limit refused, and what failed for a reason that the log does not name."""
        self._too_many += asked.status == _TOO_MANY
        self._failed += asked.refusal.reason == "unanswered" and asked.status is None

    def results(self) -> Iterator[Result]:
        """Say how fast clients were, and what would have held them back."""
        yield from self._of_models()
        yield self._visible()
        yield self._ceiling()

    def _of_models(self) -> Iterator[Result]:
        judged = False
        for model, day in sorted(self._days.items()):
            needed = None if self.known.bench is None else self.known.bench.of(model)
            if needed is None:
                continue
            judged = True
            yield self._pace(model, day, self._minutes[model], needed)
        if judged or not self._events:
            if not judged:
                yield Unjudged(_PACE, _PACE_TITLE, _CONTROLS, "no query of the log was answered")
            return
        why = (
            "how many queries a copy takes is not known: name the result of a bench with --bench FILE"
            if self.known.bench is None
            else "the bench holds no query count for the models of this log, or no attack reached 90% within its budget"
        )
        fastest = max((most for _, most in self._days.items()), key=lambda most: most.answers, default=_Most())
        yield Unjudged(
            _PACE,
            _PACE_TITLE,
            _CONTROLS,
            f"{why}; the fastest client, {fastest.client}, got {counted(round(fastest.answers), 'answer')} in a day",
        )

    def _pace(self, model: str, day: _Most, minute: _Most, needed: int) -> Result:
        figures = {
            "model": model,
            "queries_to_90": needed,
            "most_per_day": round(day.answers),
            "most_per_minute": round(minute.answers),
            "client_of_day": day.client,
            "client_of_minute": minute.client,
        }
        days = needed / day.answers
        seen = (
            f"{model}: {day.client} got {counted(round(day.answers), 'answer')} in a day, {minute.client} "
            f"{minute.answers:,.0f} in a minute; a copy that agrees on 90% takes {needed:,}, which is {days:,.1f} days of that"
        )
        if days > 7.0:
            return Clear(_PACE, _PACE_TITLE, _CONTROLS, seen, figures)
        return Finding(
            _PACE,
            _PACE_TITLE,
            _CONTROLS,
            "high" if days <= 1.0 else "medium",
            "one account could have copied the model within "
            + ("a day" if days <= 1.0 else "a week")
            + " at a pace that was answered: the limit is not sized to extraction. It says nothing of intent",
            seen,
            "set [gate] requests_per_second and a limit per day at the gateway, below what a copy takes",
            figures,
            (day.event_id, minute.event_id),
        )

    def _visible(self) -> Result:
        gate = self.known.config.gate
        limits = [gate.requests_per_second, gate.model_requests_per_second]
        figures = {"refused_by_429": self._too_many, "events_with_status": self._with_status}
        if self._too_many:
            return Clear(_LIMIT, _LIMIT_TITLE, _CONTROLS, f"{self._too_many:,} queries were refused with status 429", figures)
        if self.known.configured and any(limits):
            return Clear(
                _LIMIT, _LIMIT_TITLE, _CONTROLS, f"[gate] has a ceiling ({_told(limits)}), which nobody reached", figures
            )
        if self._failed or not self._with_status:
            why = (
                "events have no status" if not self._with_status else f"{self._failed:,} queries failed for a reason not logged"
            )
            return Unjudged(_LIMIT, _LIMIT_TITLE, _CONTROLS, f"{why}, so what was refused does not show: log the status")
        if not self.known.configured:
            why = "nobody was refused, and the ceilings of [gate] are not known: name the configuration with -c"
            return Unjudged(_LIMIT, _LIMIT_TITLE, _CONTROLS, why)
        most = max((most for _, most in self._minutes.items()), key=lambda most: most.answers, default=_Most())
        return Finding(
            _LIMIT,
            _LIMIT_TITLE,
            _CONTROLS,
            "medium",
            "no query was refused and [gate] has no ceiling; a gateway may have a limit of its own that nobody reached",
            f"{self._with_status:,} queries with a status, none of them 429; {most.client} got "
            f"{counted(round(most.answers), 'answer')} in a minute",
            "set [gate] requests_per_second and model_requests_per_second, or name the gateway's own limit in your records",
            figures | {"most_per_minute": round(most.answers), "client": most.client},
            (most.event_id,) if most.event_id else (),
        )

    def _ceiling(self) -> Result:
        ceiling, bench = self.known.config.gate.requests_per_second, self.known.bench
        if not self.known.configured or ceiling is None or bench is None or not bench.queries:
            return Unjudged(_SIZE, _SIZE_TITLE, _CONTROLS, "needs -c with [gate] requests_per_second, and --bench")
        needed = min(bench.queries.values())
        hours = needed / ceiling / 3600.0
        figures = {"requests_per_second": ceiling, "queries_to_90": needed, "hours": round(hours, 3)}
        seen = f"{needed:,} queries take {hours:,.2f} h at {ceiling:g} a second"
        if hours > 24.0:
            return Clear(_SIZE, _SIZE_TITLE, _CONTROLS, seen, figures)
        return Finding(
            _SIZE,
            _SIZE_TITLE,
            _CONTROLS,
            "medium",
            "a limit per second stops no copy of a small model: one account is done within a day without reaching it",
            seen,
            "add a limit per day at the gateway below that count; [odometer] degrade_at and stop_at are limits on what was "
            "learned",
            figures,
        )


def _told(limits: list[float | None]) -> str:
    return ", ".join(f"{limit:g} a second" for limit in limits if limit is not None)
